"""Earliest deadline first, planned anew at every arrival and at every end of a chunk.

In order of deadlines, each request gets the degree of least GPU time that, kept to the end, meets its deadline;
late ones get a device each of what is left; then degrees double where most seconds are saved.
"""

from functools import cache, partial

from tetriserve.cost.model import CostModel
from tetriserve.scheduler.policies.stepwise import CurveOf, give, short_chunks, startable
from tetriserve.scheduler.policies.tetriserve import elastic
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import usable
from tetriserve.scheduler.view import TOLERANCE_S, Plan, Policy, View


def edf(cost: CostModel, num_devices: int) -> Policy:
    """The policy for one machine."""
    return partial(plan_edf, curve_of=cache(partial(StepCurve.of, cost=cost, num_devices=num_devices)))


def plan_edf(view: View, memory: None, curve_of: CurveOf) -> tuple[Plan, None]:
    """Who is due first comes first."""
    available = view.available()
    limits = usable(available, view.num_devices)
    candidates = sorted(startable(view, available, curve_of), key=lambda one: (one.due_s, one.request.request_id))
    on_time = [one for one in candidates if not one.is_late]
    late = [one for one in candidates if one.is_late]
    degrees: dict[str, int] = {}
    for one in on_time:
        give(one, _needed(one), degrees, limits)
    elastic.start_on_one(late, degrees, limits)
    for group in (on_time, late):
        elastic.scale_up(group, degrees, limits)
    return Plan(short_chunks(view, available, candidates, degrees)), memory


def _needed(candidate: Candidate) -> int:
    """The degree of least GPU time that meets the deadline if all remaining steps are taken at it."""
    step_s, budget_s = candidate.curve.step_s, candidate.due_s - candidate.begin_s + TOLERANCE_S
    enough = [degree for degree in step_s if candidate.request.remaining_steps * step_s[degree] <= budget_s]
    return min(enough, key=lambda degree: (degree * step_s[degree], degree))
