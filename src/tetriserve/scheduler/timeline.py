"""When devices and requests are predicted to be free: committed chunks played forward with the cost model.

Every reported end replaces a prediction, so errors of the model don't add up.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from tetriserve.core.chunk import Chunk, Stage


@dataclass(slots=True)
class Flight:
    """A committed chunk that has not ended. `start_s` and `end_s` are predictions."""

    chunk: Chunk
    duration_s: float
    submitted_s: float
    start_s: float = 0.0
    end_s: float = 0.0


class Timeline:
    """Owns the chunks in flight. Mirrors the executor's rules: devices in order of submission, and requests too."""

    def __init__(self, num_devices: int) -> None:
        self._num_devices = num_devices
        self._flights: dict[int, Flight] = {}
        self._queues: tuple[deque[Flight], ...] = tuple(deque() for _ in range(num_devices))
        self._device_end_s = [float("-inf")] * num_devices
        self._request_end_s: dict[str, float] = {}
        self._predicted_s: list[float] = []

    @property
    def busy(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._flights)

    def add(self, chunk: Chunk, duration_s: float, now_s: float) -> None:
        """Commit a chunk that is expected to take `duration_s`."""
        flight = Flight(chunk, duration_s, now_s)
        self._flights[chunk.chunk_id] = flight
        for device in chunk.devices:
            self._queues[device].append(flight)

    def end(self, chunk_id: int, finished_s: float) -> Chunk | None:
        """Take the end of a chunk into account; None if it is not in flight (any more)."""
        flight = self._flights.pop(chunk_id, None)
        if flight is None:
            return None
        for device in flight.chunk.devices:
            self._queues[device].remove(flight)
            self._device_end_s[device] = max(self._device_end_s[device], finished_s)
        for request_id in flight.chunk.request_ids:
            self._request_end_s[request_id] = finished_s
        return flight.chunk

    def clear(self) -> tuple[Flight, ...]:
        """Void everything in flight: all devices are free. Returns what was in flight."""
        flights = tuple(self._flights.values())
        self._flights.clear()
        for queue in self._queues:
            queue.clear()
        return flights

    def forget(self, request_ids: Iterable[str]) -> None:
        """Drop what is remembered of requests that have ended."""
        for request_id in request_ids:
            self._request_end_s.pop(request_id, None)

    def predict(self, now_s: float) -> tuple[tuple[float, ...], dict[str, float]]:
        """When each device is free (never before now), and when each request in flight is."""
        device_s = list(self._device_end_s)
        request_s: dict[str, float] = {}
        for flight in self._flights.values():
            chunk = flight.chunk
            start_s = flight.submitted_s
            for device in chunk.devices:
                start_s = max(start_s, device_s[device])
            for request_id in chunk.request_ids:
                start_s = max(start_s, request_s.get(request_id, self._request_end_s.get(request_id, start_s)))
            end_s = max(start_s + flight.duration_s, now_s)
            flight.start_s, flight.end_s = start_s, end_s
            for device in chunk.devices:
                device_s[device] = end_s
            for request_id in chunk.request_ids:
                request_s[request_id] = end_s
        return tuple([max(end_s, now_s) for end_s in device_s]), request_s

    def open_devices(self) -> tuple[bool, ...]:
        """Which devices have no DENOISE chunk waiting behind the first chunk of their queue."""
        return tuple([len(queue) < 2 or not _holds_denoise(queue) for queue in self._queues])


def _holds_denoise(queue: deque[Flight]) -> bool:
    waiting = iter(queue)
    next(waiting)
    return any(flight.chunk.stage is Stage.DENOISE for flight in waiting)
