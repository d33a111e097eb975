"""The policy `default`: at every event, forecast who can be on time, serve those, and fill idle devices.

A machine is planned in cells as large as the largest degree, since no request can use more; one of eight devices
is one cell. See docs/policies.md for the reasons and for what was tried.
"""

from bisect import insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import DefaultConfig
from tetriserve.scheduler.policies.default.blocks import Board
from tetriserve.scheduler.policies.default.cell import Queue, Rules, plan_cell
from tetriserve.scheduler.policies.default.counting import least_part
from tetriserve.scheduler.policies.default.course import Course
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

    @cache
    def part_of(size: Size, _step_s: float) -> float:
        least_gpu_s = min(degree * step_s for degree, step_s in curve_of(size, 1).ladder)
        return least_part(least_gpu_s / len(cells[0]), config.part_s)

    @cache
    def late_part_of(size: Size, step_s: float) -> float:
        part = part_of(size, step_s)
        return part if part < 1 else least_part(step_s, config.part_s)

    return partial(plan_default, rules=Rules(config, cells, curve_of, counts_of, part_of, late_part_of))


@dataclass(frozen=True, slots=True)
class Memory:
    """How cells go on while the pending are those of the last decision, and which cells that one left for this one:
    `num_left` of them, from `cell` on."""

    num_changes: int
    courses: Mapping[int, Course]
    cell: int = 0
    num_left: int = 0


def plan_default(view: View, memory: Memory | None, rules: Rules) -> tuple[Plan, Memory | None]:
    """Plan every cell that has a free device; of many, some now and the others in decisions that follow at once."""
    free = frozenset(view.available())
    num_changes = view.pending.num_changes
    courses = memory.courses if memory and memory.num_changes == num_changes else {}
    assignments: list[Assignment] = []
    boards: list[tuple[int, Board]] = []
    for index, cell in enumerate(rules.cells):
        idle = free.intersection(cell)
        if idle:
            course = courses.get(index)
            turns = course.next_turns(view, idle) if course else None
            if turns is None:
                boards.append((index, Board(view, cell, set(idle))))
            else:
                assignments += turns
    if not boards:
        return Plan(tuple(assignments)), memory if memory and not memory.num_left else Memory(num_changes, courses)
    if memory and memory.num_left:
        boards = _from(memory.cell, boards)[: memory.num_left]
    now, later = boards[:CELLS_AT_ONCE], boards[CELLS_AT_ONCE:]
    busy, courses = [id_ for assignment in assignments for id_ in assignment.request_ids], dict(courses)
    for index, found, course in _plan_cells(now, busy, view, rules):
        assignments += found
        courses[index] = course
    if not later:
        return Plan(tuple(assignments)), Memory(num_changes, courses)
    return Plan(tuple(assignments), view.now_s), Memory(num_changes, courses, later[0][0], len(later))


def _from(cell: int, boards: Sequence[tuple[int, Board]]) -> list[tuple[int, Board]]:
    """In order, beginning with a cell."""
    return [*(one for one in boards if one[0] >= cell), *(one for one in boards if one[0] < cell)]


def _plan_cells(
    boards: Sequence[tuple[int, Board]], busy: Sequence[str], view: View, rules: Rules
) -> Iterator[tuple[int, list[Assignment], Course]]:
    """What to start in these cells, and how they go on; nothing for those who are busy elsewhere."""
    ready_by_s = view.now_s + view.ahead_s + TOLERANCE_S
    running: dict[int, list[RequestView]] = {}
    ready: list[RequestView] = []
    for one in view.pending.running():
        if one.ready_s > ready_by_s:
            running.setdefault(one.last_devices[0] // len(rules.cells[0]), []).append(one)
        else:
            ready.append(one)
    queue = _queue(ready, view, rules, len(boards))
    queue.remove(busy)
    for index, board in boards:
        yield index, *plan_cell(board, queue, running.get(index, ()), rules)


def _queue(ready: Sequence[RequestView], view: View, rules: Rules, num_boards: int) -> Queue:
    """As many as the boards can look at, in the order in which they are looked at: who waits, and who ends now."""
    most = num_boards * rules.config.num_ahead
    on_time, late = view.pending.first(most), view.pending.first_late(most)
    num_on_time = view.pending.num_on_time
    for one in ready:
        if _is_late(one, view, rules):
            insort(late, one, key=partial(_left, rules=rules))
        else:
            num_on_time += 1
            insort(on_time, one, key=_due)
    late = late[:most] + [one for one in _interrupted(view) if _is_late(one, view, rules)]
    return Queue({one.request_id: one for one in on_time[:most]}, {one.request_id: one for one in late}, num_on_time)


def _interrupted(view: View) -> list[RequestView]:
    """Who is within a step, with nothing in flight."""
    ids = {id_: None for device in sorted(view.interrupted) for id_ in view.interrupted[device]}
    found = [one for id_ in ids if (one := view.pending.find(id_)) is not None]
    return [one for one in found if one.ready_s <= view.now_s + view.ahead_s + TOLERANCE_S]


def _is_late(one: RequestView, view: View, rules: Rules) -> bool:
    return view.now_s + _left(one, rules)[0] > _due(one)[0] + TOLERANCE_S


def _due(one: RequestView) -> tuple[float, str]:
    return one.due_s - one.decode_s, one.request_id


def _left(one: RequestView, rules: Rules) -> tuple[float, str]:
    return one.encode_s + one.remaining_steps * rules.curve_of(one.size, 1).fastest_s, one.request_id
