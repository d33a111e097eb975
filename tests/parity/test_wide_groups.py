"""Every aligned group of eight workers makes the image that diffusers makes."""

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import Engine
from parity.reference import Reference, assert_same
from tetriserve.core.blocks import all_blocks


@pytest.mark.parametrize("kind", ["true_cfg", "sd3.5-medium", "qwen-image"])
def test_every_block_of_eight_workers(kind: str, checkpoint: GetCheckpoint, reference: Reference) -> None:
    """A step on each of the 15 blocks, for three heads: most ranks of the widest have none, some have no text."""
    engine = Engine(checkpoint(kind), "cpu:8")
    with engine.executor:
        request = engine.request("112x80", steps=15)
        image = engine.image(request, all_blocks(8), encode_on=7, decode_on=3)
    assert_same(image, reference.image(engine.model_dir, request))
