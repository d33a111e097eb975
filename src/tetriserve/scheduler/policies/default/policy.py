"""The policy `default`: at every event, forecast who can be on time, serve those, and fill idle devices.

A machine is planned in cells as large as the largest degree, since no request can use more; one of eight devices
is one cell. See docs/policies.md for the reasons and for what was tried.
"""

from collections.abc import Iterable
from functools import cache, partial
from heapq import nsmallest

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import DefaultConfig
from tetriserve.scheduler.policies.default.blocks import Board
from tetriserve.scheduler.policies.default.cell import Queue, Rules, plan_cell
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, Plan, Policy, RequestView, View


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


def plan_default(view: View, memory: None, rules: Rules) -> tuple[Plan, None]:
    """Plan every cell that has a free device."""
    free = frozenset(view.available())
    boards = [Board(view, cell, set(free.intersection(cell))) for cell in rules.cells if not free.isdisjoint(cell)]
    if not boards:
        return Plan(), memory
    ready_by_s = view.now_s + view.ahead_s + TOLERANCE_S
    queue = _queue([one for one in view.requests if one.ready_s <= ready_by_s], view, rules, len(boards))
    running = [one for one in view.requests if one.ready_s > ready_by_s]
    assignments: list[Assignment] = []
    for board in boards:
        assignments += plan_cell(board, queue, [one for one in running if one.last_devices[0] in board.devices], rules)
    return Plan(tuple(assignments)), memory


def _queue(waiting: Iterable[RequestView], view: View, rules: Rules, num_boards: int) -> Queue:
    """As many as the boards can look at, in the order in which they are looked at."""
    now_s, curve_of = view.now_s, rules.curve_of
    on_time: list[tuple[float, str, RequestView]] = []
    late: list[tuple[float, str, RequestView]] = []
    for one in waiting:
        left_s = one.encode_s + one.remaining_steps * curve_of(one.size, 1).fastest_s
        due_s = one.deadline_s - one.decode_s
        if now_s + left_s <= due_s + TOLERANCE_S:
            on_time.append((due_s, one.request_id, one))
        else:
            late.append((left_s, one.request_id, one))
    most = num_boards * rules.config.num_ahead
    return Queue(
        [one for _, _, one in nsmallest(most, on_time)], [one for _, _, one in nsmallest(most, late)], len(on_time)
    )
