"""The deadline of a request that names none."""

import math
from bisect import bisect_left
from collections.abc import Mapping

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel

PAPER_SLO_S: Mapping[Size, float] = {
    Size(256, 256): 1.5,
    Size(512, 512): 2.0,
    Size(1024, 1024): 3.0,
    Size(2048, 2048): 5.0,
}
"""Source: TetriServe §6.1, scale 1.0."""

SOLO_FACTOR = 1.5
"""A default deadline leaves at least this multiple of the fastest possible time."""

MAX_SCALE = 100.0


def default_slo_s(
    size: Size, num_steps: float, cost: CostModel, table: Mapping[Size, float] = PAPER_SLO_S, factor: float = 1.0
) -> float:
    """`factor` times the table's value, interpolated on tokens, but never less than 1.5 times the fastest solo time.

    A factor above 1 stretches that floor as well: who can wait, can wait on a slow machine too.
    """
    floor_s = SOLO_FACTOR * cost.solo_s(size, num_steps) * max(1.0, factor)
    return max(factor * interpolate_slo_s(size, table), floor_s)


def published_slo_s(size: Size, scale: float = 1.0) -> float:
    """The published value times `scale`, however fast the machine. Raises ConfigurationError."""
    if not 0 < scale <= MAX_SCALE:
        raise ConfigurationError(f"SLO scale is {scale:g}, must be above 0 and at most {MAX_SCALE:g}")
    return scale * interpolate_slo_s(size, PAPER_SLO_S)


def interpolate_slo_s(size: Size, table: Mapping[Size, float]) -> float:
    """Linear in the logarithm of tokens between the table's sizes; constant beyond its ends."""
    points = sorted((math.log(known.num_tokens), slo_s) for known, slo_s in table.items())
    x = math.log(size.num_tokens)
    right = bisect_left(points, (x,))
    if right == 0:
        return points[0][1]
    if right == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[right - 1], points[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
