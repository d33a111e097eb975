"""What a plan foresees, and how to go on with it while nothing else happens: most ends of chunks need no new plan."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from tetriserve.scheduler.policies.default.counting import permitted
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, View


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

    def next_turns(self, view: View, idle: Set[int]) -> list[Assignment] | None:
        """Who goes on now on these devices of the cell; None if that is not all there is to decide."""
        if view.now_s + TOLERANCE_S > self.until_s:
            return None
        found: list[Assignment] = []
        left = set(idle) - self.unused
        while left:
            turn = self.turns.get(min(left))
            if turn is None or not left.issuperset(turn.devices):
                return None
            num_steps = _num_steps(turn, view)
            if num_steps == 0:
                return None
            left.difference_update(turn.devices)
            found.append(turn if num_steps == turn.num_steps else turn._replace(num_steps=num_steps))
        return found


def _num_steps(turn: Assignment, view: View) -> float:
    """As many as all of its requests can take; 0 if one is not ready, or took its last steps elsewhere."""
    ready_by_s, counts = view.now_s + view.ahead_s + TOLERANCE_S, list[float]()
    for id_ in turn.request_ids:
        one = view.pending.find(id_)
        if one is None or one.ready_s > ready_by_s or one.last_devices != turn.devices:
            return 0
        counts.append(permitted(turn.num_steps, one, turn.devices, view))
    return min(counts)
