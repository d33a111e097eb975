"""Greedy by starvation time: whoever is furthest behind an undisturbed run gets free devices first.

Source: DDiT (arXiv 2506.13497): every size has a best degree; a request starts with what is free and is promoted
between steps, the most starved first, and nobody is preempted. Differs: starvation is the time since arrival less
that of the done steps at the best degree, for running and waiting requests alike; decoding is not split off here,
since every policy of ours decodes on one device; the best degree is the largest with an efficiency of a half.
"""

from collections.abc import Mapping
from functools import cache, partial

from tetriserve.cost.model import CostModel
from tetriserve.scheduler.policies.stepwise import CurveOf, efficient_degree, give, short_chunks, startable
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import fits, usable
from tetriserve.scheduler.view import Plan, Policy, View

Totals = dict[str, float]
"""Steps of each request when it was first seen. Never changed after it was returned."""


def ddit(cost: CostModel, num_devices: int) -> Policy:
    """The policy for one machine."""
    return partial(plan_ddit, curve_of=cache(partial(StepCurve.of, cost=cost, num_devices=num_devices)))


def plan_ddit(view: View, memory: Totals | None, curve_of: CurveOf) -> tuple[Plan, Totals]:
    """Running requests keep what they have; free devices start and promote the most starved."""
    known = memory or {}
    totals = {one.request_id: known.get(one.request_id, one.remaining_steps) for one in view.requests}
    available = view.available()
    limits = usable(available, view.num_devices)
    candidates = startable(view, available, curve_of)
    degrees: dict[str, int] = {}
    for one in candidates:
        if one.request.last_devices:
            give(one, len(one.request.last_devices), degrees, limits)
    for one in sorted(candidates, key=lambda one: (-_starved_s(one, totals, view.now_s), one.request.request_id)):
        _promote(one, degrees, limits)
    return Plan(short_chunks(view, available, candidates, degrees)), totals


def _starved_s(candidate: Candidate, totals: Totals, now_s: float) -> float:
    """How far behind a run at the best degree from arrival on."""
    request, curve = candidate.request, candidate.curve
    done = totals[request.request_id] - request.remaining_steps
    return now_s - request.arrival_s - done * curve.step_s[efficient_degree(curve)]


def _promote(candidate: Candidate, degrees: dict[str, int], limits: Mapping[int, int]) -> None:
    """Start it, or double its degree while there is room, up to the best degree."""
    id_, best = candidate.request.request_id, efficient_degree(candidate.curve)
    if id_ not in degrees:
        give(candidate, best, degrees, limits)
        return
    others = [degree for other, degree in degrees.items() if other != id_]
    while degrees[id_] * 2 <= best and fits((*others, degrees[id_] * 2), limits):
        degrees[id_] *= 2
