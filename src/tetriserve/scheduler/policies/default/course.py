"""What a plan foresees, and how to go on with it while nothing else happens: most ends of chunks need no new plan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tetriserve.scheduler.policies.default.blocks import Board
from tetriserve.scheduler.view import TOLERANCE_S, Assignment


@dataclass(frozen=True, slots=True)
class Course:
    """Until `until_s`, and while nobody comes or goes, whoever holds a device takes as many steps again on its block.

    `turns` are by device. `unused` are devices that nobody can use.
    """

    until_s: float
    turns: Mapping[int, Assignment]
    unused: frozenset[int]

    @classmethod
    def of(cls, until_s: float, turns: Iterable[Assignment], unused: Iterable[int]) -> "Course":
        """The course on which these assignments are repeated."""
        return cls(until_s, {device: turn for turn in turns for device in turn.devices}, frozenset(unused))


def follow(course: Course, board: Board) -> list[Assignment] | None:
    """The next turns of those whose blocks are free; None if that is not all there is to decide."""
    view = board.view
    if view.now_s + TOLERANCE_S > course.until_s:
        return None
    idle = board.idle - course.unused
    found: list[Assignment] = []
    while idle:
        turn = course.turns.get(min(idle))
        if turn is None or not idle.issuperset(turn.devices):
            return None
        num_steps = _num_steps(turn, board)
        if not num_steps:
            return None
        idle.difference_update(turn.devices)
        found.append(turn if num_steps == turn.num_steps else turn._replace(num_steps=num_steps))
    return found


def _num_steps(turn: Assignment, board: Board) -> int:
    """As many as all of its requests can take; 0 if one is not ready, or took its last steps elsewhere."""
    num_steps = turn.num_steps
    for id_ in turn.request_ids:
        one = board.view.pending.find(id_)
        if one is None or one.ready_s > board.ready_by_s or one.last_devices != turn.devices:
            return 0
        num_steps = min(num_steps, one.remaining_steps)
    return num_steps
