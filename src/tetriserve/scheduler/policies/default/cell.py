"""The plan of one cell: serve the best set of those due first, then let the others use what is idle."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from tetriserve.core.size import Size
from tetriserve.scheduler.config import DefaultConfig
from tetriserve.scheduler.policies.default.batching import Choice, with_batches
from tetriserve.scheduler.policies.default.blocks import Block, Board, place
from tetriserve.scheduler.policies.default.counting import permitted, steps_within
from tetriserve.scheduler.policies.default.course import Course
from tetriserve.scheduler.policies.default.forecast import Forecast, Releases
from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.policies.default.selection import select
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, RequestView

PartOf = Callable[[Size, float], float]
"""The least part that a chunk may consist of, of a step of a size that takes so many seconds."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What stays the same: settings, the devices of each cell, step times of a size (of a batch), sizes of batches,
    and the least part of a step that a chunk may consist of: of who can be on time, and of who is late or was."""

    config: DefaultConfig
    cells: tuple[range, ...]
    curve_of: Callable[[Size, int], StepCurve]
    counts_of: Callable[[Size], tuple[int, ...]]
    part_of: PartOf
    late_part_of: PartOf


@dataclass(slots=True)
class Queue:
    """Requests with nothing in flight, by id, while a plan is made: who can be on time, by deadline, and the late ones.

    `num_on_time` counts those beyond the first few, too. Of the late, all who are within a step are there.
    """

    on_time: dict[str, RequestView]
    late: dict[str, RequestView]
    num_on_time: int

    def first(self, count: int) -> list[RequestView]:
        """The first of those that can be on time."""
        return list(islice(self.on_time.values(), count))

    def first_late(self, count: int, devices: range) -> list[RequestView]:
        """The first of the others; before all who is within a step on one of these devices."""
        within = [one for one in self.late.values() if one.is_within_step]
        here = [one for one in within if one.last_devices[0] in devices]
        rest = (one for one in self.late.values() if not one.is_within_step)
        return list(islice(chain(here, rest), count))

    def remove(self, ids: Iterable[str]) -> None:
        """Nobody else may plan with these."""
        for id_ in ids:
            self.on_time.pop(id_, None)
            self.late.pop(id_, None)


def plan_cell(
    board: Board, queue: Queue, running: Sequence[RequestView], rules: Rules
) -> tuple[list[Assignment], Course]:
    """What to start on the idle devices of a cell, and how to go on; takes whom it plans with off the queue."""
    if not (running or queue.on_time or queue.late):
        return [], Course.of(board.view.now_s, (), board.idle)
    room, releases = _capacity(board, rules.config.window_s)
    jobs = _look_at(board, queue, running, rules)
    jobs, chosen = _choose(jobs, board, queue, rules, partial(select, num_free=len(room), releases=releases))
    blocks = place(board, jobs, chosen.degrees, room)
    served = [job for job in jobs if job.key in blocks]
    queue.remove([id_ for job in served for id_ in job.ids])
    chunk_s = rules.config.chunk_s if queue.on_time or queue.late else rules.config.calm_chunk_s
    turns = [_turn(job, blocks[job.key], chunk_s, rules) for job in served]
    assignments, held = _start(board, served, turns)
    fills = _use_idle(board, held, queue, rules)
    # Who is within a step on another block than foreseen goes on as foreseen when that step has ended.
    turns = [turn for job, turn in zip(served, turns, strict=True) if _is_foreseen(job, turn, chosen)]
    turns += [fill for fill in fills if board.reserved_s.keys().isdisjoint(fill.devices)]
    unused = () if held or queue.on_time or queue.late else board.idle.difference(board.reserved_s)
    return assignments + fills, Course.of(board.view.now_s + chosen.until_s * board.view.slowness, turns, unused)


def _is_foreseen(job: Job, turn: Assignment, chosen: Forecast) -> bool:
    return not job.is_within_step or len(turn.devices) == chosen.degrees[job.key]


def _use_idle(board: Board, held: list[RequestView], queue: Queue, rules: Rules) -> list[Assignment]:
    """Who waits for a block goes first, then those on time, then the late: of these, who is within a step.

    For who is within a step and can't go on, what is idle of its block is kept until it can.
    """
    if not board.idle:
        return []
    count = rules.config.num_ahead
    on_time, late = queue.first(count), queue.first_late(count, board.devices)
    whole: PartOf = _whole  # others are held for these
    waiting = [(one, whole, 0.0) for one in held]
    waiting += [(one, rules.part_of, 0.0) for one in on_time]
    waiting += [(one, rules.late_part_of, rules.config.late_efficiency) for one in late]
    assignments: list[Assignment] = []
    for index, (one, part_of, efficiency) in enumerate(waiting):
        if not board.idle:
            break
        share = max(1, len(board.idle) // (len(waiting) - index))
        found = _fill(board, one, share, efficiency, part_of, rules)
        assignments += found
        if not found and one.is_within_step:
            board.keep(one.last_devices)
    queue.remove([assignment.request_ids[0] for assignment in assignments])
    return assignments


def _whole(_size: Size, _step_s: float) -> float:
    """Steps are not cut."""
    return 1.0


def _capacity(board: Board, window_s: float) -> tuple[set[int], Releases]:
    """Devices that are free within the window, and when the others are, in the seconds of jobs."""
    now_s, free_s, slowness = board.view.now_s, board.view.free_s, board.view.slowness
    room = {device for device in board.devices if free_s[device] - now_s <= window_s}
    later = sorted((free_s[device] - now_s) / slowness for device in board.devices if device not in room)
    return room, tuple((seconds, 1) for seconds in later if seconds < float("inf"))


def _look_at(board: Board, queue: Queue, running: Sequence[RequestView], rules: Rules) -> list[Job]:
    """Who is due first of this cell's share of the waiting, and its running ones, if they can be on time."""
    share = -(-queue.num_on_time // len(rules.cells))
    waiting = queue.first(min(share, rules.config.num_ahead))
    jobs = [_job((one,), board, rules, rules.config.window_s) for one in (*waiting, *running)]
    return sorted([job for job in jobs if job.ends_s <= job.due_s + TOLERANCE_S], key=lambda job: (job.due_s, job.key))


def _choose(
    jobs: list[Job], board: Board, queue: Queue, rules: Rules, decide: Callable[[Sequence[Job]], Forecast]
) -> Choice:
    """Whom to serve; in batches where somebody would have to wait."""
    chosen = decide(jobs)
    if not rules.config.batching or (len(chosen.on_time) == len(jobs) and queue.num_on_time <= rules.config.num_ahead):
        return jobs, chosen

    def merge(members: Sequence[Job]) -> Job:
        return _job(tuple([job.members[0] for job in members]), board, rules, rules.config.window_s)

    return with_batches((jobs, chosen), rules.counts_of, merge, decide)


def _job(members: tuple[RequestView, ...], board: Board, rules: Rules, window_s: float = 0.0) -> Job:
    curve = rules.curve_of(members[0].size, len(members))
    return Job.of(members, curve, board.view.now_s, board.ready_by_s, window_s, board.view.slowness)


def _start(
    board: Board, jobs: Sequence[Job], turns: Sequence[Assignment]
) -> tuple[list[Assignment], list[RequestView]]:
    """Start whose block is free; the blocks of the others are kept for them. Returns the ready ones of these, too."""
    assignments: list[Assignment] = []
    held: list[RequestView] = []
    for job, turn in zip(jobs, turns, strict=True):
        block = turn.devices
        start_s = board.start_s(job, block)
        if start_s <= board.ready_by_s and board.idle.issuperset(block):
            assignments.append(_assign(board, job, block, turn.num_steps))
        else:
            board.reserve(block, start_s)
            held += [one for one in job.members if one.ready_s <= board.ready_by_s]
    return assignments, held


def _turn(job: Job, block: Block, chunk_s: float, rules: Rules) -> Assignment:
    """A chunk of the job on the block, however many steps are left."""
    first, step_s = job.members[0], job.curve.step_s[len(block)]
    part_of = rules.late_part_of if job.is_within_step else rules.part_of
    part = part_of(first.size, step_s) if len(job.members) == 1 else 1.0
    return Assignment(job.ids, block, steps_within(chunk_s, step_s, part))


def _assign(board: Board, job: Job, block: Block, num_steps: float) -> Assignment:
    num_steps = min([permitted(num_steps, one, block, board.view) for one in job.members])
    board.take(block, sum([one.encode_s for one in job.members]) + num_steps * job.curve.step_s[len(block)])
    return Assignment(job.ids, block, num_steps)


def _fill(
    board: Board, one: RequestView, share: int, efficiency: float, part_of: PartOf, rules: Rules
) -> list[Assignment]:
    """The idle block of the fastest step, for steps, or parts of one, that are over when somebody else needs it.

    Blocks are no larger than the share of what is idle, and devices do at least `efficiency` of the steps that they
    would do one by one, unless steps are too long on such blocks: devices that can't be taken back for long are not
    idle, they are gone.
    """
    curve, config, last = rules.curve_of(one.size, 1), rules.config, frozenset(one.last_devices)
    if one.is_within_step:
        part_of = rules.late_part_of
        widths = [(len(last), curve.step_s[len(last)])]
    else:
        widths = _widths(curve, board.widest, share, efficiency, config.idle_step_s)
    for degree, step_s in widths:
        part = part_of(one.size, step_s)
        for block in sorted(
            board.blocks_for(one, degree, board.idle), key=lambda block: -len(last.intersection(block))
        ):
            room_s = board.room_s(block) + config.slip_s - one.encode_s
            fitting = steps_within(min(config.chunk_s, room_s), step_s, part)
            num_steps = permitted(fitting, one, block, board.view)
            if num_steps * step_s <= room_s + TOLERANCE_S * step_s:
                board.take(block, one.encode_s + num_steps * step_s)
                return [Assignment((one.request_id,), block, num_steps)]
    return []


def _widths(
    curve: StepCurve, widest: int, share: int, efficiency: float, idle_step_s: float
) -> list[tuple[int, float]]:
    """Degrees and their step times, the fastest first, of those for which lost devices leave a block."""
    ladder = [(degree, step_s) for degree, step_s in curve.ladder if degree <= widest]
    fastest_s = min([step_s for _, step_s in ladder], default=0.0)
    longest_s, least_gpu_s = max(idle_step_s, fastest_s), curve.hull[-1][1]
    short = [(step_s, degree) for degree, step_s in ladder if step_s <= longest_s]
    fitting = [one for one in short if one[1] <= share and efficiency * one[1] * one[0] <= least_gpu_s]
    return [(degree, step_s) for step_s, degree in sorted(fitting or short[:1])]
