"""A finished picture, before any file format."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """`rgb` holds height x width x 3 bytes, row by row. `warnings` tell the caller what was not done as asked."""

    width: int
    height: int
    rgb: bytes
    warnings: tuple[str, ...] = ()
