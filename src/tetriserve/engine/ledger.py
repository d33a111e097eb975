"""Chunks in flight: the reports of a chunk's ranks become its one event. Pure: no processes, no clock."""

from dataclasses import dataclass, field

from tetriserve.core.chunk import Chunk
from tetriserve.core.events import ChunkDone, ChunkFailed
from tetriserve.engine.messages import Failure, Finished


@dataclass(slots=True)
class _Open:
    """A chunk of which some ranks haven't reported."""

    chunk: Chunk
    waiting: set[int]
    started_s: float = float("inf")
    finished_s: float = float("-inf")
    failures: dict[str, Failure] = field(default_factory=dict)


class Ledger:
    """Knows every chunk in flight and every request that has failed and isn't released."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._failed: dict[str, Failure] = {}
        self._released: set[str] = set()

    def open(self, chunk: Chunk) -> None:
        """A chunk goes to its ranks."""
        self._open[chunk.chunk_id] = _Open(chunk, set(chunk.devices))

    def chunk(self, chunk_id: int) -> Chunk:
        """A chunk in flight."""
        return self._open[chunk_id].chunk

    def report(self, rank: int, report: Finished) -> ChunkDone | ChunkFailed | None:
        """One rank is done. Returns the chunk's event if it was the last.

        A request that failed once fails in all its chunks: those were only run so that no rank waits in vain.
        """
        entry = self._open[report.chunk_id]
        entry.waiting.remove(rank)
        entry.started_s = min(entry.started_s, report.started_s)
        entry.finished_s = max(entry.finished_s, report.finished_s)
        entry.failures |= {failure.request_id: failure for failure in report.failures}
        if entry.waiting:
            return None
        del self._open[report.chunk_id]
        return self._close(entry)

    def release(self, request_id: str) -> None:
        """A request has ended. A failure is remembered until the last of its chunks has run in form."""
        self._released.add(request_id)
        self._forget_released()

    def _close(self, entry: _Open) -> ChunkDone | ChunkFailed:
        chunk = entry.chunk
        for request_id, failure in entry.failures.items():
            self._failed.setdefault(request_id, failure)
        failed = [self._failed[id_] for id_ in chunk.request_ids if id_ in self._failed]
        self._forget_released()
        if not failed:
            return ChunkDone(chunk.chunk_id, entry.started_s, entry.finished_s)
        return ChunkFailed(
            chunk.chunk_id,
            entry.started_s,
            entry.finished_s,
            tuple(failure.request_id for failure in failed),
            failed[0].code,
            failed[0].message,
        )

    def _forget_released(self) -> None:
        in_flight = {request_id for entry in self._open.values() for request_id in entry.chunk.request_ids}
        for request_id in self._released - in_flight:
            self._failed.pop(request_id, None)
        self._released &= in_flight
