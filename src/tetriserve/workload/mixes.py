"""Which sizes are asked for, and how often."""

import math
from collections.abc import Sequence

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.size import Size

Mix = dict[Size, float]
"""Weight by size; weights are relative."""

MIXES = "uniform, skewed, homogeneous:1024, or weights like 256x256=3,1024x1024=1"

SKEW = 1.0


def uniform(sizes: Sequence[Size]) -> Mix:
    """Equal shares. Source: TetriServe §6.1."""
    return dict.fromkeys(sizes, 1.0)


def skewed(sizes: Sequence[Size], alpha: float = SKEW) -> Mix:
    """Large sizes more often: weight exp(alpha L / L_max) for L tokens. Source: TetriServe §6.1."""
    most = max(size.num_tokens for size in sizes)
    return {size: math.exp(alpha * size.num_tokens / most) for size in sizes}


def parse_mix(text: str, sizes: Sequence[Size]) -> Mix:
    """Read a mix (see `MIXES`); `sizes` are those that uniform and skewed mean. Raises ConfigurationError."""
    if not sizes:
        raise ConfigurationError("a mix needs at least one size")
    try:
        if text == "uniform":
            return uniform(sizes)
        if text == "skewed":
            return skewed(sizes)
        if text.startswith("homogeneous:"):
            return {_parse_size(text.removeprefix("homogeneous:")): 1.0}
        return dict(_parse_weight(part) for part in text.split(","))
    except InvalidRequestError as error:
        raise ConfigurationError(f"mix {text[:80]!r}: {error}") from error


def _parse_weight(part: str) -> tuple[Size, float]:
    size, separator, weight = part.partition("=")
    try:
        value = float(weight)
    except ValueError:
        value = float("nan")
    if not separator or not 0 < value < float("inf"):
        raise ConfigurationError(f"mix has {part[:40]!r}; it must be {MIXES}, with positive weights")
    return _parse_size(size.strip()), value


def _parse_size(text: str) -> Size:
    """`1024` means 1024x1024."""
    return Size.parse(f"{text}x{text}" if text.isdecimal() else text)
