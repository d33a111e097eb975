"""Shortest remaining time first, planned anew at every arrival and at every end of a chunk. Knows no deadlines.

In order of the seconds left at the efficient degree of its size, each request gets that degree or what is left of
the machine; then degrees double where most seconds are saved.
"""

from functools import cache, partial

from tetriserve.cost.model import CostModel
from tetriserve.scheduler.policies.stepwise import CurveOf, efficient_degree, give, short_chunks, startable
from tetriserve.scheduler.policies.tetriserve import elastic
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import usable
from tetriserve.scheduler.view import Plan, Policy, View


def srtf(cost: CostModel, num_devices: int) -> Policy:
    """The policy for one machine."""
    return partial(plan_srtf, curve_of=cache(partial(StepCurve.of, cost=cost, num_devices=num_devices)))


def plan_srtf(view: View, memory: None, curve_of: CurveOf) -> tuple[Plan, None]:
    """Who would be done first comes first."""
    available = view.available()
    limits = usable(available, view.num_devices)
    candidates = sorted(startable(view, available, curve_of), key=lambda one: (_left_s(one), one.request.request_id))
    degrees: dict[str, int] = {}
    for one in candidates:
        give(one, efficient_degree(one.curve), degrees, limits)
    elastic.scale_up(candidates, degrees, limits)
    return Plan(short_chunks(view, available, candidates, degrees)), memory


def _left_s(candidate: Candidate) -> float:
    return candidate.request.remaining_steps * candidate.curve.step_s[efficient_degree(candidate.curve)]
