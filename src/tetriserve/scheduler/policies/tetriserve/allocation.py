"""How much a request needs: the plan of least GPU time that meets a deadline, were the request alone.

Source: TetriServe §4.2.1. GPU time is seconds x devices.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.view import TOLERANCE_S


@dataclass(frozen=True, slots=True)
class Share:
    """`num_steps` steps at one degree."""

    degree: int
    num_steps: float


@dataclass(frozen=True, slots=True)
class StepCurve:
    """Seconds of a step of one size by degree, `ladder` the same in ascending order of degrees.

    `hull` is the lower convex hull of (seconds, GPU seconds).
    """

    step_s: dict[int, float]
    fastest_s: float
    hull: tuple[tuple[float, float], ...]
    ladder: tuple[tuple[int, float], ...]

    @classmethod
    def of(cls, size: Size, cost: CostModel, num_devices: int, batch: int = 1) -> "StepCurve":
        """The curve of a size, or of a batch of it, over the degrees that fit the machine and were measured."""
        known = [degree for degree in cost.degrees if degree <= num_devices and batch in cost.batches(degree, size)]
        step_s = {degree: cost.step_s(size, degree, batch) for degree in known}
        points = sorted((seconds, degree * seconds) for degree, seconds in step_s.items())
        return cls(step_s, min(step_s.values()), lower_hull(points), tuple(sorted(step_s.items())))

    def least_gpu_s(self, num_steps: float, budget_s: float) -> float:
        """Least GPU time of steps within a budget if steps could be split; too small a budget is ignored."""
        if num_steps == 0:
            return 0.0
        hull, step_s = self.hull, budget_s / num_steps
        if len(hull) == 1 or step_s >= hull[-1][0] or step_s < hull[0][0] - TOLERANCE_S:
            return num_steps * hull[-1][1]
        for (fast_s, fast_gpu_s), (slow_s, slow_gpu_s) in pairwise(hull):
            if step_s <= slow_s:
                share = max(0.0, step_s - fast_s) / (slow_s - fast_s)
                return num_steps * (fast_gpu_s + share * (slow_gpu_s - fast_gpu_s))
        raise AssertionError("the hull covers every step time up to its slowest")


def allocate(step_s: dict[int, float], num_steps: float, budget_s: float) -> tuple[Share, ...] | None:
    """At most two degrees whose steps end within the budget, for the least GPU time; None if that is impossible.

    Ties go to the plan that ends first, then to the smaller degrees.
    """
    best: tuple[float, float, tuple[tuple[int, float], ...]] | None = None
    for slow, slow_s in step_s.items():
        for fast, fast_s in step_s.items():
            num_fast = _num_fast_steps(num_steps, budget_s, slow_s, fast_s) if slow != fast else 0
            if num_fast is None or (slow == fast and num_steps * slow_s > budget_s + TOLERANCE_S):
                continue
            num_slow = num_steps - num_fast
            gpu_s = num_slow * slow * slow_s + num_fast * fast * fast_s
            plan = (gpu_s, num_slow * slow_s + num_fast * fast_s, ((slow, num_slow), (fast, num_fast)))
            best = plan if best is None else min(best, plan)
    return best and tuple(Share(degree, count) for degree, count in best[2] if count > 0)


def _num_fast_steps(num_steps: float, budget_s: float, slow_s: float, fast_s: float) -> int | None:
    """How many of the steps must be fast ones; None if no mixture of both keeps the budget or needs both."""
    if fast_s >= slow_s:
        return None
    num_fast = math.ceil((num_steps * slow_s - budget_s - TOLERANCE_S) / (slow_s - fast_s))
    return num_fast if 0 < num_fast < num_steps else None


def lower_hull(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """From the fastest point down to the cheapest; convex, so the next GPU second always buys less time."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        if hull and y >= hull[-1][1]:
            continue
        while len(hull) >= 2 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) >= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return tuple(hull)
