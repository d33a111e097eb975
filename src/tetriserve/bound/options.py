"""The ways to take one step, as far as a bound needs to know them: which are worth considering at all."""

from collections.abc import Iterable
from typing import NamedTuple

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel


class Option(NamedTuple):
    """One step takes a request `own_s` seconds of its life and `gpu_s` GPU-seconds of the machine."""

    own_s: float
    gpu_s: float


def step_options(cost: CostModel, size: Size) -> tuple[Option, ...]:
    """The efficient options of a size, fastest first.

    A batch of b on k devices takes each member its whole time, but only 1/b of its GPU time: members are charged as
    if their batches were always full, so a bound with these options holds for policies that batch, too.
    """
    return efficient(
        Option(step_s, degree * step_s / batch)
        for degree in cost.degrees
        for batch in cost.batches(degree, size)
        for step_s in (cost.step_s(size, degree, batch),)
    )


def efficient(options: Iterable[Option]) -> tuple[Option, ...]:
    """The lower convex hull, fastest first: all others can be replaced by a mix of two that costs no more of either."""
    hull: list[Option] = []
    for option in sorted(options):
        if hull and option.gpu_s >= hull[-1].gpu_s:
            continue
        while len(hull) >= 2 and not _turns_left(hull[-2], hull[-1], option):
            hull.pop()
        hull.append(option)
    return tuple(hull)


def _turns_left(first: Option, middle: Option, last: Option) -> bool:
    """Whether `middle` lies strictly below the line from `first` to `last`."""
    run, rise = last.own_s - first.own_s, last.gpu_s - first.gpu_s
    return (middle.gpu_s - first.gpu_s) * run < rise * (middle.own_s - first.own_s)
