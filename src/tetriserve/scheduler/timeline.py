"""When devices and requests are predicted to be free: committed chunks played forward with the cost model.

Predictions hold until an end is reported that differs from them, or is overdue; then all are made anew, so that
errors of the model don't add up.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import compress

from tetriserve.core.chunk import Chunk, Stage

INFINITY = float("inf")


@dataclass(slots=True, eq=False)
class Flight:
    """A committed chunk that has not ended. `start_s` and `end_s` are predictions; a `void` one will take no time.

    `duration_s` is what it is expected to take on its devices, `profile_s` what the profile says.
    """

    chunk: Chunk
    duration_s: float
    profile_s: float
    submitted_s: float
    start_s: float = 0.0
    end_s: float = 0.0
    void: bool = False


class Timeline:
    """Owns the chunks in flight. Mirrors the executor's rules: devices in order of submission, and requests too.

    A device that is lost is never free.
    """

    def __init__(self, num_devices: int) -> None:
        self._flights: dict[int, Flight] = {}
        self._queues: tuple[deque[Flight], ...] = tuple(deque() for _ in range(num_devices))
        self._is_open = [True] * num_devices
        self._device_end_s = [-INFINITY] * num_devices
        self._request_end_s: dict[str, float] = {}
        self._free_s = list(self._device_end_s)
        self._last_flight: dict[str, Flight] = {}
        self._by_end: list[tuple[float, int]] = []
        self._surprised = False

    @property
    def busy(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._flights)

    def add(self, chunk: Chunk, duration_s: float, profile_s: float, now_s: float) -> None:
        """Commit a chunk that is expected to take `duration_s`."""
        flight = Flight(chunk, duration_s, profile_s, now_s)
        self._flights[chunk.chunk_id] = flight
        queues, is_denoise = self._queues, chunk.stage is Stage.DENOISE
        for device in chunk.devices:
            queue = queues[device]
            if queue and is_denoise:
                self._is_open[device] = False
            queue.append(flight)
        self._place(flight, now_s)
        heappush(self._by_end, (flight.end_s, chunk.chunk_id))

    def end(self, chunk_id: int, finished_s: float) -> Flight | None:
        """Take the end of a chunk into account; None if it is not in flight (any more)."""
        flight = self._flights.pop(chunk_id, None)
        if flight is None:
            return None
        self._surprised |= finished_s != flight.end_s
        queues, is_open, ends_s = self._queues, self._is_open, self._device_end_s
        for device in flight.chunk.devices:
            queue = queues[device]
            queue.remove(flight)
            if not is_open[device]:
                self._open(device)
            ends_s[device] = max(ends_s[device], finished_s)
        for request_id in flight.chunk.request_ids:
            self._request_end_s[request_id] = finished_s
            if self._last_flight.get(request_id) is flight:
                del self._last_flight[request_id]
        return flight

    def lose(self, devices: Iterable[int]) -> None:
        """Devices are gone. What is in flight on them ends when that is reported."""
        for device in devices:
            self._device_end_s[device] = INFINITY
            self._is_open[device] = False
        self._surprised = True

    def restore(self, devices: Iterable[int], now_s: float) -> None:
        """Lost devices are there again."""
        for device in devices:
            self._device_end_s[device] = now_s
            self._open(device)
        self._surprised = True

    @property
    def lost(self) -> tuple[int, ...]:
        """The devices that are gone."""
        return tuple(device for device, end_s in enumerate(self._device_end_s) if end_s == INFINITY)

    @property
    def all_lost(self) -> bool:
        """Whether there is no device."""
        return min(self._device_end_s) == INFINITY

    def void(self, is_cancelled: Callable[[str], bool], now_s: float) -> None:
        """Chunks that have not started, and of which every request is cancelled, will take no time."""
        self.predict(now_s)
        for flight in self._flights.values():
            if flight.start_s > now_s and all(map(is_cancelled, flight.chunk.request_ids)):
                flight.void, flight.duration_s = True, 0.0
                self._surprised = True
                for device in flight.chunk.devices:
                    self._open(device)

    def forget(self, request_ids: Iterable[str]) -> None:
        """Drop what is remembered of requests that have ended."""
        for request_id in request_ids:
            self._request_end_s.pop(request_id, None)

    def predict(self, now_s: float) -> None:
        """Bring all predictions up to now. Everything below answers as of the last call."""
        by_end, flights = self._by_end, self._flights
        while by_end and by_end[0][1] not in flights:
            heappop(by_end)
        if not self._surprised and not (by_end and by_end[0][0] < now_s):
            return
        self._surprised = False
        self._free_s = list(self._device_end_s)
        self._last_flight.clear()
        for flight in flights.values():
            self._place(flight, now_s)
        self._by_end = [(flight.end_s, chunk_id) for chunk_id, flight in flights.items()]
        heapify(self._by_end)

    def free_s(self, now_s: float) -> tuple[float, ...]:
        """When each device is free, never before now."""
        return tuple([end_s if end_s > now_s else now_s for end_s in self._free_s])

    def next_free_s(self, after_s: float = -INFINITY) -> float:
        """When the first open device is free of those that are not free by then; infinity if there is none."""
        times_s: Iterable[float] = compress(self._free_s, self._is_open)
        if after_s > -INFINITY:
            times_s = [free_s for free_s in times_s if free_s > after_s]
        return min(times_s, default=INFINITY)

    def ready_s(self, request_id: str) -> float:
        """When the last chunk in flight of a request ends."""
        return self._last_flight[request_id].end_s

    def flight_s(self, chunk_id: int) -> tuple[float, float]:
        """Start and end of a chunk in flight."""
        flight = self._flights[chunk_id]
        return flight.start_s, flight.end_s

    def open_devices(self) -> tuple[bool, ...]:
        """Which devices have no DENOISE chunk waiting behind the first chunk of their queue."""
        return tuple(self._is_open)

    def _open(self, device: int) -> None:
        queue = self._queues[device]
        is_there = self._device_end_s[device] < INFINITY
        self._is_open[device] = is_there and (len(queue) < 2 or not _holds_denoise(queue))

    def _place(self, flight: Flight, now_s: float) -> None:
        """Predict a flight after all that were submitted before it."""
        chunk, free_s, start_s = flight.chunk, self._free_s, flight.submitted_s
        for device in chunk.devices:
            start_s = max(start_s, free_s[device])
        for request_id in chunk.request_ids:
            last = self._last_flight.get(request_id)
            ready_s = last.end_s if last is not None else self._request_end_s.get(request_id, start_s)
            start_s = max(start_s, ready_s)
            self._last_flight[request_id] = flight
        end_s = start_s + flight.duration_s
        flight.start_s = start_s
        flight.end_s = end_s = end_s if end_s > now_s else now_s
        for device in chunk.devices:
            free_s[device] = end_s


def _holds_denoise(queue: deque[Flight]) -> bool:
    waiting = iter(queue)
    next(waiting)
    return any(flight.chunk.stage is Stage.DENOISE and not flight.void for flight in waiting)
