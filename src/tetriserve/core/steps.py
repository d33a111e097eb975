"""Counting denoising steps. A step may be interrupted between blocks of the transformer, so counts may be fractions.

All are multiples of `GRAIN`, of which floating-point sums are exact.
"""

import math

GRAIN = 1 / 8
"""The least part of a step: an eighth of the transformer's blocks."""

MAX_INTERRUPTED = 3
"""Steps that were begun and have not ended may stand still on a device: each takes memory there."""


def is_whole(num_steps: float) -> bool:
    """Whether no step is begun and not ended."""
    return num_steps % 1 == 0


def plain(num_steps: float) -> float:
    """The same count; an int if it is whole, for those who show it."""
    return int(num_steps) if is_whole(num_steps) else num_steps


def is_cut_point(num_steps: float) -> bool:
    """Whether a step can be interrupted there."""
    return num_steps % GRAIN == 0


def taken_steps(first: float, num_steps: float) -> range:
    """The steps of which at least a part is taken."""
    return range(math.floor(first), math.ceil(first + num_steps))


def ended_steps(first: float, num_steps: float) -> range:
    """The steps that end while so many are taken."""
    return range(math.floor(first), math.floor(first + num_steps))
