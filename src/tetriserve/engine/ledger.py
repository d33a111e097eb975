"""Chunks in flight: the reports of a chunk's ranks become its one event. Pure: no processes, no clock."""

from dataclasses import dataclass

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


class Ledger:
    """Knows every chunk in flight, in order of submission, and every request that has failed and isn't released."""

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

    def has_failed(self, request_id: str) -> bool:
        """Whether some rank has reported that the request can't go on."""
        return request_id in self._failed

    def report(self, rank: int, report: Finished) -> list[ChunkDone | ChunkFailed]:
        """One rank is done with its part of a chunk. Returns the events of all chunks that have thereby ended.

        Of two chunks that share a device or a request, the earlier always ends first: a rank that is through with
        both must not make the later one overtake. A request that failed once fails in all its chunks, which were
        only run so that no rank waits in vain.
        """
        entry = self._open[report.chunk_id]
        entry.waiting.remove(rank)
        entry.started_s = min(entry.started_s, report.started_s)
        entry.finished_s = max(entry.finished_s, report.finished_s)
        for failure in report.failures:
            self._failed.setdefault(failure.request_id, failure)
        events = [self._close(ended) for ended in self._pop_ended()]
        self._forget_released()
        return events

    def release(self, request_id: str) -> None:
        """A request has ended. A failure is remembered until the last of its chunks has run in form."""
        self._released.add(request_id)
        self._forget_released()

    def _pop_ended(self) -> list[_Open]:
        """Remove the chunks that all ranks have reported and that no earlier chunk holds back."""
        unfinished: list[Chunk] = []
        ended = []
        for entry in tuple(self._open.values()):
            if entry.waiting or any(_overlap(entry.chunk, earlier) for earlier in unfinished):
                unfinished.append(entry.chunk)
            else:
                ended.append(self._open.pop(entry.chunk.chunk_id))
        return ended

    def _close(self, entry: _Open) -> ChunkDone | ChunkFailed:
        chunk = entry.chunk
        failed = [self._failed[id_] for id_ in chunk.request_ids if id_ in self._failed]
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


def _overlap(a: Chunk, b: Chunk) -> bool:
    return not set(a.devices).isdisjoint(b.devices) or not set(a.request_ids).isdisjoint(b.request_ids)
