"""The policy `tetriserve`: plans a round when the last one is over, and fills idle devices within a round.

Source: TetriServe §4.2; differs: see docs/scheduler.md, which has a worked example and every decision.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import TetriServeConfig
from tetriserve.scheduler.policies.tetriserve import batching, elastic, packing
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.batching import Batch
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate, Round
from tetriserve.scheduler.policies.tetriserve.capacity import usable
from tetriserve.scheduler.policies.tetriserve.elastic import Degrees
from tetriserve.scheduler.policies.tetriserve.placement import Demand, place
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, Plan, Policy, View


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays the same from round to round: switches, the length of a round, step times of each size."""

    config: TetriServeConfig
    round_s: float
    curve_of: Callable[[Size], StepCurve]


@dataclass(frozen=True, slots=True)
class Running:
    """The round that is running: when it is over, and on which devices. It is over early if they all are free."""

    end_s: float
    devices: frozenset[int]

    def is_over(self, view: View) -> bool:
        """Whether the next round is to be planned now."""
        by_s = view.now_s + view.ahead_s + TOLERANCE_S
        return by_s >= self.end_s or all(view.free_s[device] <= by_s for device in self.devices)


def tetriserve(cost: CostModel, num_devices: int, config: TetriServeConfig) -> Policy:
    """The policy for one machine."""
    curve_of = cache(partial(StepCurve.of, cost=cost, num_devices=num_devices))
    return partial(plan_rounds, rules=Rules(config, round_length_s(cost, config), curve_of))


def round_length_s(cost: CostModel, config: TetriServeConfig) -> float:
    """The length of a round in seconds: some steps of the largest size at its fastest degree.

    Source: TetriServe (step granularity); differs: the paper does not say of which size and degree.
    """
    if config.round_s is not None:
        return config.round_s
    return config.step_granularity * cost.min_step_s(config.largest_size or cost.sizes[-1])


def plan_rounds(view: View, memory: Running | None, rules: Rules) -> tuple[Plan, Running | None]:
    """A round's plan when the last one is over; before that, work for idle devices only."""
    if memory is None or memory.is_over(view):
        return _start_round(view, rules)
    if rules.config.backfill:
        return _fill_round(view, memory, rules)
    return Plan(wake_s=memory.end_s - view.ahead_s), memory


def _start_round(view: View, rules: Rules) -> tuple[Plan, Running | None]:
    latest_s = view.now_s + view.ahead_s + rules.config.slip * rules.round_s
    free = view.available(latest_s)
    start_s = max([view.free_s[device] for device in free], default=view.now_s)
    candidates = _candidates(view, rules, start_s, latest_s)
    if not free or not candidates:
        return Plan(), None
    on_time, late = _by_hope(candidates)
    round_ = Round(start_s, start_s + rules.round_s)
    limits = usable(free, view.num_devices)
    groups = [packing.options(candidate, round_, max(limits)) for candidate in on_time]
    chosen = zip(on_time, packing.pack(groups, limits), strict=True)
    degrees = {candidate.request.request_id: option.degree for candidate, option in chosen if option.degree}
    crowded = rules.config.batching and _crowded(on_time, degrees, limits, round_.end_s)
    batches = batching.join(on_time, degrees, limits, round_, view.cost) if crowded else {}
    batched = {id_ for batch in batches.values() for id_ in batch.ids}
    if rules.config.elastic:
        alone = [candidate for candidate in on_time if candidate.request.request_id not in batched]
        _use_idle(alone, late, degrees, limits, round_.end_s)
        late = [candidate for candidate in late if not candidate.has_step_within(round_.end_s)]
    elastic.start_on_one(late, degrees, limits)
    assignments, ends_s = _assign(candidates, degrees, free, round_.end_s, view, rules, batches)
    if not assignments:
        return Plan(wake_s=round_.end_s), None
    devices = frozenset(device for assignment in assignments for device in assignment.devices)
    running = Running(min(round_.end_s, max(ends_s)), devices)
    return Plan(assignments, running.end_s - view.ahead_s), running


def _fill_round(view: View, running: Running, rules: Rules) -> tuple[Plan, Running]:
    """Devices idle inside a round take steps that end with it: the next round finds every device free."""
    free = view.available()
    start_s = max([view.free_s[device] for device in free], default=view.now_s)
    candidates = _candidates(view, rules, start_s, view.now_s + view.ahead_s)
    degrees: Degrees = {}
    limits = usable(free, view.num_devices)
    for group in _by_hope(candidates):
        elastic.start_waiting(group, degrees, limits, running.end_s)
        if rules.config.elastic:
            elastic.scale_up(group, degrees, limits)
    assignments, _ = _assign(candidates, degrees, free, running.end_s, view, rules)
    devices = running.devices.union(*(assignment.devices for assignment in assignments))
    return Plan(assignments, running.end_s - view.ahead_s), Running(running.end_s, devices)


def _candidates(view: View, rules: Rules, start_s: float, ready_by_s: float) -> list[Candidate]:
    """Requests with no chunk in flight by then, least slack first."""
    ready = [request for request in view.requests if request.ready_s <= ready_by_s + TOLERANCE_S]
    found = [Candidate.of(request, rules.curve_of(request.size), start_s) for request in ready]
    return sorted(found, key=lambda candidate: (candidate.slack_s, candidate.request.request_id))


def _by_hope(candidates: list[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those that can still be on time, and the late ones."""
    return [one for one in candidates if not one.is_late], [one for one in candidates if one.is_late]


def _crowded(on_time: Sequence[Candidate], degrees: Degrees, limits: Mapping[int, int], end_s: float) -> bool:
    """Whether somebody on time has to wait for the next round."""
    trial = dict(degrees)
    elastic.start_waiting(on_time, trial, limits, end_s)
    return len(trial) < len(on_time)


def _use_idle(
    on_time: Sequence[Candidate], late: Sequence[Candidate], degrees: Degrees, limits: Mapping[int, int], end_s: float
) -> None:
    """All that on-time requests can use is theirs; late ones share the rest."""
    for candidates in (on_time, late):
        elastic.start_waiting(candidates, degrees, limits, end_s)
        elastic.scale_up(candidates, degrees, limits)


def _assign(
    candidates: Iterable[Candidate],
    degrees: Degrees,
    free: Iterable[int],
    end_s: float,
    view: View,
    rules: Rules,
    batches: Mapping[str, Batch] = MappingProxyType({}),
) -> tuple[tuple[Assignment, ...], list[float]]:
    """Blocks and steps for the chosen degrees, and when each is done. At least one step, even if it takes longer."""
    chosen = {one.request.request_id: one for one in candidates if one.request.request_id in degrees}
    demands = [Demand(id_, degrees[id_], one.request.last_devices) for id_, one in chosen.items()]
    blocks = place(demands, free, view.num_devices, rules.config.placement)
    assignments: list[Assignment] = []
    ends_s: list[float] = []
    for request_id, candidate in chosen.items():
        if request_id in batches:
            batch = batches[request_id]
            assignments.append(Assignment(batch.ids, blocks[request_id], batch.num_steps))
            ends_s.append(batch.end_s)
            continue
        degree = degrees[request_id]
        num_steps = max(1, candidate.steps_within(degree, end_s))
        assignments.append(Assignment((request_id,), blocks[request_id], num_steps))
        ends_s.append(candidate.begin_s + num_steps * candidate.curve.step_s[degree])
    return tuple(assignments), ends_s
