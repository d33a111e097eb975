"""Chunks in flight: the reports of a chunk's ranks become its one event. Pure: no processes; time is an argument."""

from collections.abc import Collection
from dataclasses import dataclass, field

from tetriserve.core.chunk import Chunk, doomed
from tetriserve.core.events import ChunkDone, ChunkEnd, ChunkFailed, ChunkLost
from tetriserve.engine.messages import Failure, Finished

PEER_PATIENCE_S = 1.0
"""Where an exchange can't be broken off, ranks whose partner has left it get this long to leave it too."""


@dataclass(slots=True, eq=False)
class _Open:
    """A chunk that has not ended. `sources` are ranks that give tensors away for it; `epoch` that of its groups.

    `begun_s`: since when all ranks that haven't reported it have nothing else to do. `excuse` is what one of its ranks
    says of its loss, `lost` that this is how it ends.
    """

    chunk: Chunk
    sources: frozenset[int]
    epoch: int
    waiting: set[int]
    begun_s: float | None = None
    limit_s: float = float("inf")
    started_s: float = float("inf")
    finished_s: float = float("-inf")
    failures: dict[str, Failure] = field(default_factory=dict)
    latents: tuple[bytes, ...] = ()
    excuse: ChunkLost | None = None
    lost: ChunkLost | None = None

    @property
    def ranks(self) -> set[int]:
        """All that it needs."""
        return {*self.chunk.devices, *self.sources}


@dataclass(frozen=True, slots=True)
class Ended:
    """A chunk, its event, and the latents of its requests if it took steps."""

    chunk: Chunk
    event: ChunkEnd
    latents: tuple[bytes, ...] = ()


class Ledger:
    """Knows every chunk in flight, in order of submission, and every request that has failed and isn't released.

    `can_abort` says that a rank whose partner leaves an exchange is thrown out of it.
    """

    def __init__(self, can_abort: bool = True) -> None:
        self._can_abort = can_abort
        self._open: dict[int, _Open] = {}
        self._failed: dict[str, Failure] = {}
        self._released: set[str] = set()
        self._epoch = 0
        self._doomed: list[Chunk] = []

    def open(self, chunk: Chunk, now_s: float, sources: Collection[int] = (), epoch: int = 0) -> None:
        """A chunk goes to its ranks, which may come to groups of an `epoch` before it."""
        waiting, limit_s = set(chunk.devices), chunk.limit_s
        self._open[chunk.chunk_id] = _Open(chunk, frozenset(sources), epoch, waiting, limit_s=limit_s)
        self._look(now_s)

    def refuse(self, chunk: Chunk, message: str) -> list[Ended]:
        """A chunk can't be done: it ends as lost when its requests' earlier ones have ended."""
        lost = ChunkLost(chunk.chunk_id, message, suspect=False)
        self._open[chunk.chunk_id] = _Open(chunk, frozenset(), 0, set(), lost=lost)
        self._doomed.append(chunk)
        return self._end_all()

    def find(self, chunk_id: int) -> Chunk | None:
        """A chunk that has neither ended nor been lost."""
        entry = self._open.get(chunk_id)
        return None if entry is None or entry.lost else entry.chunk

    def has_failed(self, request_id: str) -> bool:
        """Whether some rank has reported that the request can't go on."""
        return request_id in self._failed

    def report(self, rank: int, report: Finished, now_s: float) -> list[Ended]:
        """One rank is done with its part of a chunk. Returns all chunks that have thereby ended.

        Of two chunks that share a device or a request, the earlier always ends first: a rank that is through with
        both must not make the later one overtake. A request that failed once fails in all its chunks, which were
        only run so that no rank waits in vain. What a rank says of a chunk that is lost by now does not matter.
        """
        entry = self._open.get(report.chunk_id)
        if entry is None or rank not in entry.waiting:
            return []
        entry.waiting.remove(rank)
        entry.started_s = min(entry.started_s, report.started_s)
        entry.finished_s = max(entry.finished_s, report.finished_s)
        entry.latents = entry.latents or report.latents
        entry.failures |= {failure.request_id: failure for failure in report.failures}
        if report.cut and not self._can_abort and entry.begun_s is not None:
            entry.limit_s = min(entry.limit_s, now_s - entry.begun_s + PEER_PATIENCE_S)
        if report.lost:
            began = report.started_s < report.finished_s
            if entry.excuse is None or report.apart:
                entry.excuse = ChunkLost(report.chunk_id, report.lost, began and not report.apart, report.apart)
        if not entry.waiting:
            self._conclude(entry)
        ended = self._end_all()
        self._look(now_s)
        return ended

    def lose(self, ranks: Collection[int], message: str, now_s: float) -> list[Ended]:
        """Ranks are gone, and with them the chunks that they were needed for, or whose interrupted steps they kept."""
        heads, earlier = self._heads(), set[str]()
        for chunk_id, entry in self._open.items():
            is_needed = entry.waiting or (entry.chunk.ends_within_step and not entry.lost)
            if is_needed and not entry.ranks.isdisjoint(ranks):
                at_hand = any(heads.get(rank) is entry for rank in ranks)
                suspect = at_hand and earlier.isdisjoint(entry.chunk.request_ids)
                entry.lost = ChunkLost(chunk_id, message, suspect)
            earlier.update(entry.chunk.request_ids)
        self._doom(message)
        ended = self._end_all()
        self._look(now_s)
        return ended

    def entangled(self, ranks: Collection[int]) -> set[int]:
        """Ranks that take part in an exchange with one of these, or with one that does."""
        found = set(ranks)
        while True:
            together = [entry.ranks for entry in self._open.values() if entry.waiting]
            more = found.union(*(those for those in together if not found.isdisjoint(those)))
            if more == found:
                return found
            found = more

    def join(self, epoch: int, now_s: float) -> None:
        """Groups up to an epoch are made, or never will be: chunks behind them can begin."""
        self._epoch = max(self._epoch, epoch)
        self._look(now_s)

    def overdue(self, now_s: float) -> tuple[set[int], str] | None:
        """Ranks that have taken too long for a chunk, and which; None if there are none."""
        for entry in self._open.values():
            if entry.waiting and entry.begun_s is not None and now_s > entry.begun_s + entry.limit_s:
                taken_s, chunk = now_s - entry.begun_s, entry.chunk
                doing = f"{chunk.stage} of {', '.join(chunk.request_ids)}"
                return set(entry.waiting), f"hung in {doing}: {taken_s:.1f} s, the limit is {entry.limit_s:.1f} s"
        return None

    def busy_s(self, rank: int, now_s: float) -> float:
        """How long a rank is expected to be at work on what it has been given."""
        left_s = 0.0
        for entry in self._open.values():
            if rank in entry.waiting:
                done_s = 0.0 if entry.begun_s is None else now_s - entry.begun_s
                left_s += max(0.0, entry.chunk.expected_s - done_s)
        return left_s

    def in_flight(self) -> set[str]:
        """Requests of which a chunk has not ended."""
        return {request_id for entry in self._open.values() for request_id in entry.chunk.request_ids}

    def is_idle(self, rank: int, epoch: int) -> bool:
        """Whether a rank has reported all chunks that come before the groups of an epoch."""
        return not any(rank in entry.waiting and entry.epoch < epoch for entry in self._open.values())

    def take_doomed(self) -> list[Chunk]:
        """Chunks that were lost since the last call; some have yet to end."""
        doomed_, self._doomed = self._doomed, []
        return doomed_

    def release(self, request_id: str) -> None:
        """A request has ended. A failure is remembered until the last of its chunks has run in form."""
        self._released.add(request_id)
        self._forget_released()

    def _conclude(self, entry: _Open) -> None:
        """All ranks have reported. What one rank has against the only request explains why the others lost it."""
        if entry.excuse and not (entry.failures and len(entry.chunk.request_ids) == 1):
            entry.lost = entry.excuse
            self._doom(entry.excuse.message)
            return
        for request_id, failure in entry.failures.items():
            self._failed.setdefault(request_id, failure)

    def _doom(self, message: str) -> None:
        """What is lost takes all later chunks of its requests along."""
        lost = {chunk_id for chunk_id, entry in self._open.items() if entry.lost}
        for chunk in doomed((entry.chunk for entry in self._open.values()), lambda chunk: chunk.chunk_id in lost):
            entry = self._open[chunk.chunk_id]
            entry.lost = entry.lost or ChunkLost(chunk.chunk_id, message, suspect=False)
            entry.waiting.clear()
            self._doomed.append(chunk)

    def _end_all(self) -> list[Ended]:
        """Remove the chunks that are over and that no earlier chunk holds back."""
        ahead: list[_Open] = []
        ended = []
        for entry in tuple(self._open.values()):
            over = entry.lost or not entry.waiting
            if over and not any(_holds_back(earlier, entry) for earlier in ahead):
                del self._open[entry.chunk.chunk_id]
                ended.append(self._close(entry))
            else:
                ahead.append(entry)
        self._forget_released()
        return ended

    def _close(self, entry: _Open) -> Ended:
        if entry.lost:
            return Ended(entry.chunk, entry.lost)
        chunk, times = entry.chunk, (entry.started_s, entry.finished_s)
        failed = [self._failed[id_] for id_ in chunk.request_ids if id_ in self._failed]
        if not failed:
            return Ended(chunk, ChunkDone(chunk.chunk_id, *times), entry.latents)
        ids = tuple(failure.request_id for failure in failed)
        return Ended(chunk, ChunkFailed(chunk.chunk_id, *times, ids, failed[0].code, failed[0].message), entry.latents)

    def _heads(self) -> dict[int, _Open]:
        """What each rank does or waits for."""
        heads: dict[int, _Open] = {}
        for entry in self._open.values():
            for rank in entry.waiting:
                heads.setdefault(rank, entry)
        return heads

    def _look(self, now_s: float) -> None:
        """See who can have begun."""
        heads = self._heads()
        for entry in set(heads.values()):
            at_hand = all(heads[rank] is entry for rank in entry.waiting)
            if at_hand and entry.begun_s is None and entry.epoch <= self._epoch:
                entry.begun_s = now_s

    def _forget_released(self) -> None:
        in_flight = self.in_flight()
        for request_id in self._released - in_flight:
            self._failed.pop(request_id, None)
        self._released &= in_flight


def _holds_back(earlier: _Open, later: _Open) -> bool:
    shares_request = not set(earlier.chunk.request_ids).isdisjoint(later.chunk.request_ids)
    if later.lost:
        return shares_request
    return shares_request or not set(earlier.chunk.devices).isdisjoint(later.chunk.devices)
