"""The policy `default`: at every event, forecast who can be on time, serve those, and fill idle devices.

A machine is planned in cells as large as the largest degree, since no request can use more; one of eight devices
is one cell. See docs/policies.md for the reasons and for what was tried.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import DefaultConfig
from tetriserve.scheduler.policies.default.blocks import Board
from tetriserve.scheduler.policies.default.cell import Queue, Rules, plan_cell
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, Plan, Policy, RequestView, View

CELLS_AT_ONCE = 16
"""So many cells are planned in one decision, so that none takes long: 128 devices, if degrees go up to 8."""


def default(cost: CostModel, num_devices: int, config: DefaultConfig) -> Policy:
    """The policy for one machine."""
    largest = max(degree for degree in cost.degrees if degree <= num_devices)
    cells = tuple(range(at, min(at + largest, num_devices)) for at in range(0, num_devices, largest))

    @cache
    def curve_of(size: Size, batch: int) -> StepCurve:
        return StepCurve.of(size, cost, num_devices, batch)

    @cache
    def counts_of(size: Size) -> tuple[int, ...]:
        known = {batch for degree in cost.degrees if degree <= num_devices for batch in cost.batches(degree, size)}
        return tuple(sorted(known - {1}))

    return partial(plan_default, rules=Rules(config, cells, curve_of, counts_of))


@dataclass(frozen=True, slots=True)
class Pass:
    """Cells that the last decision left for this one: `num_left` of them, from `cell` on."""

    cell: int
    num_left: int


def plan_default(view: View, memory: Pass | None, rules: Rules) -> tuple[Plan, Pass | None]:
    """Plan every cell that has a free device; of many, some now and the others in decisions that follow at once."""
    free = frozenset(view.available())
    cells = [index for index, cell in enumerate(rules.cells) if not free.isdisjoint(cell)]
    if not cells:
        return Plan(), None
    if memory:
        cells = [
            *(index for index in cells if index >= memory.cell),
            *(index for index in cells if index < memory.cell),
        ]
        cells = cells[: max(1, memory.num_left)]
    now, later = cells[:CELLS_AT_ONCE], cells[CELLS_AT_ONCE:]
    ready_by_s = view.now_s + view.ahead_s + TOLERANCE_S
    running: dict[int, list[RequestView]] = {}
    ready: list[RequestView] = []
    for one in view.pending.running():
        if one.ready_s > ready_by_s:
            running.setdefault(one.last_devices[0] // len(rules.cells[0]), []).append(one)
        else:
            ready.append(one)
    queue = _queue(ready, view, rules, len(now))
    assignments: list[Assignment] = []
    for index in now:
        cell = rules.cells[index]
        assignments += plan_cell(Board(view, cell, set(free.intersection(cell))), queue, running.get(index, ()), rules)
    if not later:
        return Plan(tuple(assignments)), None
    return Plan(tuple(assignments), view.now_s), Pass(later[0], len(later))


def _queue(ready: Sequence[RequestView], view: View, rules: Rules, num_boards: int) -> Queue:
    """As many as the boards can look at, in the order in which they are looked at: who waits, and who ends now."""
    most = num_boards * rules.config.num_ahead
    on_time, late = view.pending.first(most), view.pending.first_late(most)
    num_on_time = view.pending.num_on_time
    for one in ready:
        due, left = _due(one), _left(one, rules)
        if view.now_s + left[0] <= due[0] + TOLERANCE_S:
            num_on_time += 1
            insort(on_time, one, key=_due)
        else:
            insort(late, one, key=partial(_left, rules=rules))
    return Queue(
        {one.request_id: one for one in on_time[:most]}, {one.request_id: one for one in late[:most]}, num_on_time
    )


def _due(one: RequestView) -> tuple[float, str]:
    return one.deadline_s - one.decode_s, one.request_id


def _left(one: RequestView, rules: Rules) -> tuple[float, str]:
    return one.encode_s + one.remaining_steps * rules.curve_of(one.size, 1).fastest_s, one.request_id
