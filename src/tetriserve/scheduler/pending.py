"""The requests that a policy can plan with: who waits, on a timing wheel, and who has chunks in flight."""

from bisect import bisect_left, insort

from tetriserve.cost.model import CostModel
from tetriserve.scheduler.timeline import Timeline
from tetriserve.scheduler.tracker import TrackedRequest
from tetriserve.scheduler.view import RequestView
from tetriserve.scheduler.wheel import TimingWheel, Waiting


class PendingRequests:
    """Owns who is pending. Answers as of the last `look`; see `view.Pending` for what a policy may ask."""

    def __init__(self, cost: CostModel, timeline: Timeline) -> None:
        self._cost = cost
        self._timeline = timeline
        self._by_arrival: list[TrackedRequest] = []
        self._by_id: dict[str, TrackedRequest] = {}
        self._in_flight: dict[str, TrackedRequest] = {}
        self._wheel = TimingWheel()
        self.num_changes = 0

    @property
    def is_empty(self) -> bool:
        """Whether nobody is pending."""
        return not self._by_id

    def add(self, tracked: TrackedRequest) -> None:
        """Somebody has arrived."""
        self.num_changes += 1
        self._by_id[tracked.request.request_id] = tracked
        insort(self._by_arrival, tracked, key=_order)
        self.wait(tracked)

    def remove(self, tracked: TrackedRequest) -> None:
        """All its steps are committed, or it has failed."""
        request_id = tracked.request.request_id
        if self._by_id.pop(request_id, None) is None:
            return
        self.num_changes += 1
        del self._by_arrival[bisect_left(self._by_arrival, _order(tracked), key=_order)]
        if self._in_flight.pop(request_id, None) is None:
            self._wheel.remove(request_id)

    def fly(self, tracked: TrackedRequest) -> None:
        """A chunk of it was committed."""
        request_id = tracked.request.request_id
        if request_id not in self._in_flight:
            self._wheel.remove(request_id)
            self._in_flight[request_id] = tracked

    def wait(self, tracked: TrackedRequest) -> None:
        """Nothing of it is in flight (any more)."""
        request_id = tracked.request.request_id
        if request_id in self._by_id:
            self._in_flight.pop(request_id, None)
            view = tracked.view(None)
            left_s = view.encode_s + view.remaining_steps * self._cost.min_step_s(view.size)
            self._wheel.add(Waiting(view, view.due_s - view.decode_s, left_s))

    def look(self, now_s: float) -> None:
        """Bring everything up to now."""
        self._wheel.turn(now_s)

    @property
    def num_on_time(self) -> int:
        """How many wait, with nothing in flight, and can still be on time at full speed."""
        return self._wheel.num_on_time

    def requests(self) -> tuple[RequestView, ...]:
        """All, in order of arrival."""
        return tuple([self._view(tracked) for tracked in self._by_arrival])

    def find(self, request_id: str) -> RequestView | None:
        """One of them."""
        tracked = self._by_id.get(request_id)
        return None if tracked is None else self._view(tracked)

    def running(self) -> tuple[RequestView, ...]:
        """Those with chunks in flight."""
        return tuple([self._view(tracked) for tracked in self._in_flight.values()])

    def first(self, count: int) -> list[RequestView]:
        """Of those that wait and can be on time, those that are due first."""
        return self._wheel.first(count)

    def first_late(self, count: int) -> list[RequestView]:
        """Of the others that wait, those that need least time."""
        return self._wheel.first_late(count)

    def _view(self, tracked: TrackedRequest) -> RequestView:
        request_id = tracked.request.request_id
        return tracked.view(self._timeline.ready_s(request_id) if request_id in self._in_flight else None)


def _order(tracked: TrackedRequest) -> tuple[float, str]:
    return tracked.order
