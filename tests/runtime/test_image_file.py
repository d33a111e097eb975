"""Files of images."""

import random

import pytest

from tetriserve.core.image import Image
from tetriserve.runtime.image_file import FileFormat, FormatName, encode

NOISE = Image(64, 64, random.Random(0).randbytes(64 * 64 * 3), ())


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_less_quality_is_fewer_bytes(name: FormatName) -> None:
    sizes = [len(encode(NOISE, FileFormat(name, compression))) for compression in (1, 50, 100)]
    assert sizes == sorted(set(sizes))
