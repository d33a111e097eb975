"""Image sizes and the work they stand for."""

import re
from typing import NamedTuple, Self

from tetriserve.core.errors import InvalidRequestError

SIZE_MULTIPLE = 16
"""A token is a 2x2 patch of a latent that is 8 times smaller than the image: 16 pixels a side."""


class Size(NamedTuple):
    """Width and height of an image in pixels, written `WIDTHxHEIGHT`."""

    width: int
    height: int

    @property
    def num_tokens(self) -> int:
        """Image tokens L that a step attends over. Source: TetriServe §6.1 (L = H·W/256)."""
        return (self.width // SIZE_MULTIPLE) * (self.height // SIZE_MULTIPLE)

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `WIDTHxHEIGHT`. Raises InvalidRequestError unless both are positive multiples of 16."""
        match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
        if match is None:
            raise InvalidRequestError(f"size {text[:40]!r} is not of the form WIDTHxHEIGHT, like 256x256", "size")
        size = cls(int(match[1]), int(match[2]))
        if min(size) < SIZE_MULTIPLE or size.width % SIZE_MULTIPLE or size.height % SIZE_MULTIPLE:
            raise InvalidRequestError(
                f"size {size}: width and height must be positive multiples of {SIZE_MULTIPLE} pixels", "size"
            )
        return size
