"""Time for whoever must do something later: the protocol, and a virtual clock that never waits."""

import heapq
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """Says the time, and calls back. A wall clock is a thin layer over an event loop's `time` and `call_at`."""

    def now_s(self) -> float:
        """Seconds since an arbitrary origin; never goes back."""
        ...

    def call_at(self, at_s: float, rank: int, call: Callable[[], None]) -> None:
        """Call at `at_s`. Among calls of one instant a virtual clock takes the lower rank first."""
        ...


class VirtualClock:
    """Jumps from call to call, in the order (time, rank, sequence number)."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._sequence = 0
        self._calls: list[tuple[float, int, int, Callable[[], None]]] = []

    def now_s(self) -> float:
        """The virtual time in seconds."""
        return self._now_s

    def call_at(self, at_s: float, rank: int, call: Callable[[], None]) -> None:
        """Call at `at_s`, or now if that has passed."""
        sequence = self._sequence
        self._sequence = sequence + 1
        heapq.heappush(self._calls, (at_s if at_s > self._now_s else self._now_s, rank, sequence, call))

    def run(self) -> None:
        """Make all calls, those that they add included, until none is left."""
        calls = self._calls
        while calls:
            self._now_s, _, _, call = heapq.heappop(calls)
            call()
