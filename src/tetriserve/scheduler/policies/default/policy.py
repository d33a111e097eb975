"""The policy `default`: at every event, forecast who can be on time, serve those, and fill idle devices.

A machine is planned in cells as large as the largest degree, since no request can use more; one of eight devices
is one cell. See docs/policies.md for the reasons and for what was tried.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from heapq import nsmallest

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import DefaultConfig
from tetriserve.scheduler.policies.default.blocks import Block, Board, place
from tetriserve.scheduler.policies.default.forecast import Releases
from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.policies.default.selection import select
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, Plan, Policy, RequestView, View


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays the same: settings, the devices of each cell, step times of each size."""

    config: DefaultConfig
    cells: tuple[range, ...]
    curve_of: Callable[[Size], StepCurve]


@dataclass(slots=True)
class Queue:
    """Requests with nothing in flight while a plan is made: who can be on time, by deadline, and the late ones."""

    on_time: list[RequestView]
    late: list[RequestView]
    num_on_time: int


def default(cost: CostModel, num_devices: int, config: DefaultConfig) -> Policy:
    """The policy for one machine."""
    largest = max(degree for degree in cost.degrees if degree <= num_devices)
    cells = tuple(range(at, min(at + largest, num_devices)) for at in range(0, num_devices, largest))
    curve_of = cache(partial(StepCurve.of, cost=cost, num_devices=num_devices))
    return partial(plan_default, rules=Rules(config, cells, curve_of))


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
        assignments += _plan_cell(board, queue, [one for one in running if one.last_devices[0] in board.devices], rules)
    return Plan(tuple(assignments)), memory


def _queue(waiting: Iterable[RequestView], view: View, rules: Rules, num_boards: int) -> Queue:
    """As many as the boards can look at, in the order in which they are looked at."""
    now_s, curve_of = view.now_s, rules.curve_of
    on_time: list[tuple[float, str, RequestView]] = []
    late: list[tuple[float, str, RequestView]] = []
    for one in waiting:
        left_s = one.encode_s + one.remaining_steps * curve_of(one.size).fastest_s
        due_s = one.deadline_s - one.decode_s
        if now_s + left_s <= due_s + TOLERANCE_S:
            on_time.append((due_s, one.request_id, one))
        else:
            late.append((left_s, one.request_id, one))
    most = num_boards * rules.config.num_ahead
    return Queue(
        [one for _, _, one in nsmallest(most, on_time)], [one for _, _, one in nsmallest(most, late)], len(on_time)
    )


def _plan_cell(board: Board, queue: Queue, running: Sequence[RequestView], rules: Rules) -> list[Assignment]:
    """Serve the best set of those due first, then let the others use what is idle."""
    share = -(-queue.num_on_time // len(rules.cells))
    looked_at = queue.on_time[: min(share, rules.config.num_ahead)]
    jobs = [_job(one, board, rules) for one in (*looked_at, *running)]
    jobs = sorted((job for job in jobs if job.ends_s <= job.due_s + TOLERANCE_S), key=lambda job: (job.due_s, job.key))
    room, releases = _capacity(board, rules.config.window_s)
    chosen = select([_soon(job, rules.config.window_s) for job in jobs], len(room), releases)
    blocks = place(board, jobs, chosen.degrees, room)
    assignments = _start(board, [job for job in jobs if job.key in blocks], blocks, rules)
    started = {id_ for assignment in assignments for id_ in assignment.request_ids}
    others = [one for one in (*queue.on_time, *queue.late) if one.request_id not in started]
    for one in sorted(others, key=lambda one: one.request_id not in blocks):
        if not board.idle:
            break
        assignments += _fill(board, _job(one, board, rules), rules)
    taken = {id_ for assignment in assignments for id_ in assignment.request_ids}.union(blocks)
    queue.on_time = [one for one in queue.on_time if one.request_id not in taken]
    queue.late = [one for one in queue.late if one.request_id not in taken]
    return assignments


def _job(request: RequestView, board: Board, rules: Rules) -> Job:
    return Job.of((request,), rules.curve_of(request.size), board.view.now_s, board.ready_by_s)


def _soon(job: Job, window_s: float) -> Job:
    """Who is ready within the window is planned with as if it were now, but has so much less time."""
    if not 0 < job.begin_s <= window_s:
        return job
    return Job(
        job.members,
        job.curve,
        job.ladder,
        job.num_steps,
        0.0,
        job.due_s - job.begin_s,
        job.gpu_s,
        job.in_flight,
    )


def _capacity(board: Board, window_s: float) -> tuple[set[int], Releases]:
    """Devices that are free within the window, and when the others are."""
    now_s, free_s = board.view.now_s, board.view.free_s
    room = {device for device in board.devices if free_s[device] - now_s <= window_s}
    later = sorted(free_s[device] - now_s for device in board.devices if device not in room)
    return room, tuple((seconds, 1) for seconds in later)


def _start(board: Board, jobs: Sequence[Job], blocks: dict[str, Block], rules: Rules) -> list[Assignment]:
    """Start whose block is free; the blocks of the others are kept for them."""
    assignments = []
    for job in jobs:
        block = blocks[job.key]
        start_s = board.start_s(job, block)
        if start_s <= board.ready_by_s and board.idle.issuperset(block):
            fitting = int(rules.config.chunk_s / job.curve.step_s[len(block)] + TOLERANCE_S)
            assignments.append(_assign(board, job, block, fitting))
        else:
            board.reserve(block, start_s)
    return assignments


def _assign(board: Board, job: Job, block: Block, num_steps: int) -> Assignment:
    board.idle.difference_update(block)
    least = min([one.remaining_steps for one in job.members])
    return Assignment(job.ids, block, min(least, max(1, num_steps)))


def _fill(board: Board, job: Job, rules: Rules) -> list[Assignment]:
    """The idle block of the fastest step, for steps that are over when somebody else needs it.

    Long steps don't start: devices that can't be taken back for long are not idle, they are gone.
    """
    longest_s = max(rules.config.idle_step_s, job.curve.fastest_s)
    for degree, step_s in sorted(job.ladder, key=lambda step: step[1]):
        if step_s > longest_s:
            break
        for block in sorted(board.blocks(degree, board.idle), key=lambda block: -len({*block} & {*job.last_devices})):
            room_s = min(rules.config.chunk_s, board.room_s(block) + rules.config.slip_s - job.begin_s)
            if board.room_s(block) + rules.config.slip_s - job.begin_s >= step_s:
                return [_assign(board, job, block, int(room_s / step_s + TOLERANCE_S))]
    return []
