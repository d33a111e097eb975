"""Slack-based preemption with a dynamic programme over degrees, at every arrival and at every end of a chunk.

Source: GenServe (arXiv 2604.04335), as far as its abstract tells: between steps, a request with slack gives way to
one without; parallelism is elastic; a dynamic programme divides the GPUs. Differs: images only; the programme
counts requests that stay on time and then least GPU time, over the options "pause for a quantum" and "this degree
to the end"; no batches; late requests get idle devices.
"""

from functools import cache, partial

from tetriserve.cost.model import CostModel
from tetriserve.scheduler.policies.stepwise import QUANTUM_S, CurveOf, short_chunks, startable
from tetriserve.scheduler.policies.tetriserve import elastic
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import usable
from tetriserve.scheduler.policies.tetriserve.packing import PROGRESS, SURVIVOR, Option, pack
from tetriserve.scheduler.view import TOLERANCE_S, Plan, Policy, View


def genserve(cost: CostModel, num_devices: int) -> Policy:
    """The policy for one machine."""
    return partial(plan_genserve, curve_of=cache(partial(StepCurve.of, cost=cost, num_devices=num_devices)))


def plan_genserve(view: View, memory: None, curve_of: CurveOf) -> tuple[Plan, None]:
    """Divide the free devices among those on time, least slack first; what is left is elastic."""
    available = view.available()
    limits = usable(available, view.num_devices)
    candidates = sorted(startable(view, available, curve_of), key=lambda one: (one.slack_s, one.request.request_id))
    if not limits or not candidates:
        return Plan(), memory
    on_time = [one for one in candidates if not one.is_late]
    late = [one for one in candidates if one.is_late]
    chosen = pack([_options(one, max(limits)) for one in on_time], limits)
    degrees = {
        one.request.request_id: option.degree for one, option in zip(on_time, chosen, strict=True) if option.degree
    }
    elastic.start_on_one((*on_time, *late), degrees, limits)
    for group in (on_time, late):
        elastic.scale_up(group, degrees, limits)
    return Plan(short_chunks(view, available, candidates, degrees)), memory


def _options(candidate: Candidate, largest_block: int) -> tuple[Option, ...]:
    """Pause, or run to the end at a degree; see `packing.Option`."""
    num_steps, budget_s = candidate.request.remaining_steps, candidate.due_s - candidate.begin_s
    left_s = num_steps * candidate.curve.fastest_s
    paused_s = budget_s - QUANTUM_S
    pause_gpu_s = candidate.curve.least_gpu_s(num_steps, paused_s)
    found = [Option(0, 0, SURVIVOR * (left_s <= paused_s + TOLERANCE_S) - pause_gpu_s - PROGRESS * left_s)]
    for degree, step_s in candidate.curve.step_s.items():
        if degree <= largest_block:
            value = SURVIVOR * (num_steps * step_s <= budget_s + TOLERANCE_S) - num_steps * degree * step_s
            found.append(Option(degree, num_steps, value))
    return tuple(found)
