"""Sizes as people write them."""

import pytest

from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.size import Size


def test_a_size_is_read_and_written_alike() -> None:
    assert Size.parse("1024x768") == Size(1024, 768)
    assert str(Size(1024, 768)) == "1024x768"


@pytest.mark.parametrize(("size", "tokens"), [(Size(256, 256), 256), (Size(1024, 1024), 4096), (Size(16, 32), 2)])
def test_tokens_are_patches_of_sixteen_pixels(size: Size, tokens: int) -> None:
    assert size.num_tokens == tokens


@pytest.mark.parametrize(
    "text", ["", "256", "256x", "256 x 256", "0x16", "250x256", "-16x16", "²56x256", "1e3x16", "9999999x16"]
)
def test_other_texts_are_refused_with_the_value(text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Size.parse(text)
    assert caught.value.param == "size"
    assert text in str(caught.value)
