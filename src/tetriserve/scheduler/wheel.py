"""A timing wheel: who waits, by the last time at which a start is not too late.

Source: Varghese and Lauck (1987), hashed wheels; TetriServe §4.2 asks of every pending request in every round whether
it can still be on time, here it is asked only when that may have changed.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

from tetriserve.scheduler.view import TOLERANCE_S, RequestView

SLOT_S = 0.1
"""A decision looks at the slot of its time one by one; at later ones not at all, and earlier ones are empty."""

FEW = 64
"""From so many on, those that become late at once leave the order of deadlines together."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request, when its last step must have ended, and how long it takes until then at full speed."""

    view: RequestView
    due_s: float
    left_s: float

    def is_late(self, now_s: float) -> bool:
        """Whether even a start now is too late."""
        return now_s + self.left_s > self.due_s + TOLERANCE_S


class TimingWheel:
    """Requests that wait: those that can be on time in order of their deadlines, the late ones shortest first.

    `turn` is to be called before anything is asked; the time between two turns is what they cost, not the queue.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._slots: dict[int, dict[str, Waiting]] = {}
        self._at = 0
        self._on_time: list[tuple[float, str]] = []
        self._late: list[tuple[float, str]] = []

    @property
    def num_on_time(self) -> int:
        """How many can be on time."""
        return len(self._on_time)

    def add(self, waiting: Waiting) -> None:
        """Somebody waits from now on."""
        request_id = waiting.view.request_id
        self._waiting[request_id] = waiting
        self._slots.setdefault(self._slot(waiting), {})[request_id] = waiting
        insort(self._on_time, (waiting.due_s, request_id))

    def remove(self, request_id: str) -> None:
        """Somebody waits no longer."""
        waiting = self._waiting.pop(request_id)
        slot = self._slots.get(self._slot(waiting), {})
        if slot.pop(request_id, None) is None:
            _delete(self._late, (waiting.left_s, request_id))
        else:
            _delete(self._on_time, (waiting.due_s, request_id))

    def turn(self, now_s: float) -> None:
        """Up to now; who can't be on time any more becomes late."""
        here = floor(now_s / SLOT_S)
        if not self._waiting:
            self._at = here
            return
        late: list[Waiting] = []
        for number in self._passed(here):
            late += self._slots.pop(number, {}).values()
        self._at = here
        slot = self._slots.get(here, {})
        for waiting in [one for one in slot.values() if one.is_late(now_s)]:
            del slot[waiting.view.request_id]
            late.append(waiting)
        if late:
            self._make_late(late)

    def first(self, count: int) -> list[RequestView]:
        """Those due first of those that can be on time."""
        return [self._waiting[request_id].view for _, request_id in self._on_time[:count]]

    def first_late(self, count: int) -> list[RequestView]:
        """Those of the late ones that need least time."""
        return [self._waiting[request_id].view for _, request_id in self._late[:count]]

    def _passed(self, here: int) -> Iterable[int]:
        """Slots before this one that may hold somebody; few, however long nobody turned the wheel."""
        if here - self._at > len(self._slots):
            return [number for number in self._slots if number < here]
        return range(self._at, here)

    def _slot(self, waiting: Waiting) -> int:
        """Of the last time to start; if that has passed, the slot that is looked at next."""
        return max(self._at, floor((waiting.due_s + TOLERANCE_S - waiting.left_s) / SLOT_S))

    def _make_late(self, late: list[Waiting]) -> None:
        """Few one by one, many in one pass: each is found by bisection, but moves all that come after it."""
        self._late += [(one.left_s, one.view.request_id) for one in late]
        self._late.sort()
        if len(late) < FEW:
            for one in late:
                _delete(self._on_time, (one.due_s, one.view.request_id))
        else:
            gone = {one.view.request_id for one in late}
            self._on_time = [entry for entry in self._on_time if entry[1] not in gone]


def _delete(ordered: list[tuple[float, str]], entry: tuple[float, str]) -> None:
    del ordered[bisect_left(ordered, entry)]
