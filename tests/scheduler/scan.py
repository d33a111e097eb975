"""What the timing wheel replaces: every question looks at everybody. The oracle, and the benchmark's rival."""

from dataclasses import dataclass
from heapq import nsmallest

from tetriserve.cost.model import CostModel
from tetriserve.scheduler.pending import PendingRequests
from tetriserve.scheduler.timeline import Timeline
from tetriserve.scheduler.view import TOLERANCE_S, RequestView


@dataclass(frozen=True)
class Scan:
    """Pending requests at one instant; those in `flying` have chunks in flight."""

    views: tuple[RequestView, ...]
    cost: CostModel
    now_s: float
    flying: frozenset[str] = frozenset()
    num_changes: int = 0

    @property
    def num_on_time(self) -> int:
        return len(self._waiting(on_time=True))

    def requests(self) -> tuple[RequestView, ...]:
        return self.views

    def find(self, request_id: str) -> RequestView | None:
        return next((one for one in self.views if one.request_id == request_id), None)

    def running(self) -> tuple[RequestView, ...]:
        return tuple(one for one in self.views if one.request_id in self.flying)

    def first(self, count: int) -> list[RequestView]:
        key = {one.request_id: (one.due_s - one.decode_s, one.request_id) for one in self.views}
        return nsmallest(count, self._waiting(on_time=True), key=lambda one: key[one.request_id])

    def first_late(self, count: int) -> list[RequestView]:
        return nsmallest(count, self._waiting(on_time=False), key=lambda one: (self._left_s(one), one.request_id))

    def _waiting(self, on_time: bool) -> list[RequestView]:
        return [
            one
            for one in self.views
            if one.request_id not in self.flying
            and (self.now_s + self._left_s(one) <= one.due_s - one.decode_s + TOLERANCE_S) == on_time
        ]

    def _left_s(self, one: RequestView) -> float:
        return one.encode_s + one.remaining_steps * self.cost.min_step_s(one.size)


class ScannedRequests(PendingRequests):
    """Takes the place of the scheduler's own: one pass over everybody before each decision, and no wheel."""

    def __init__(self, cost: CostModel, timeline: Timeline) -> None:
        super().__init__(cost, timeline)
        self._wheel = _NoWheel()  # type: ignore[assignment]
        self._on_time: list[tuple[float, str, RequestView]] = []
        self._late: list[tuple[float, str, RequestView]] = []

    def look(self, now_s: float) -> None:
        self._on_time, self._late = [], []
        for one in self.requests():
            if one.request_id not in self._in_flight:
                left_s = one.encode_s + one.remaining_steps * self._cost.min_step_s(one.size)
                due_s = one.due_s - one.decode_s
                if now_s + left_s <= due_s + TOLERANCE_S:
                    self._on_time.append((due_s, one.request_id, one))
                else:
                    self._late.append((left_s, one.request_id, one))

    @property
    def num_on_time(self) -> int:
        return len(self._on_time)

    def first(self, count: int) -> list[RequestView]:
        return [one for _, _, one in nsmallest(count, self._on_time)]

    def first_late(self, count: int) -> list[RequestView]:
        return [one for _, _, one in nsmallest(count, self._late)]


class _NoWheel:
    """Costs nothing."""

    def add(self, waiting: object) -> None: ...

    def remove(self, request_id: str) -> None: ...
