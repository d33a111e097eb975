"""Remembers the last minutes of a runtime for the board and the trace, and tells the observers. Changes nothing.

Bounded in time and in number. Notes are taken as they come, in a few microseconds; records are made of them, and
predictions asked for, only when somebody looks.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.commands import Command, Complete, Submit
from tetriserve.core.events import Arrived, ChunkDone, ChunkFailed, ChunkLost, Event
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.runtime.observer import Observer
from tetriserve.runtime.records import ChunkRecord, ChunkState, Records, RequestRecord, RequestState
from tetriserve.scheduler.scheduler import Scheduler

logger = logging.getLogger(__name__)

KEEP_S = 300.0
MAX_CHUNKS = 20_000
MAX_REQUESTS = 5_000
PREDICT_EVERY_S = 0.5
MAX_PREDICTED = 100
"""Beyond so many unfinished requests none gets a predicted end: the forecast would hold up the scheduler."""


@dataclass(slots=True)
class _Request:
    """Notes on a request: what a record of it needs, and no more. Times on the runtime's clock."""

    request_id: str
    size: Size
    num_steps: int
    arrival_s: float
    deadline_s: float
    revision: int
    num_steps_done: int = 0
    state: RequestState = RequestState.WAITING
    begin_s: float | None = None
    end_s: float | None = None


class _Chunk(NamedTuple):
    """Notes on a chunk that has ended."""

    revision: int
    chunk: Chunk
    state: ChunkState
    begin_s: float
    end_s: float


class _Ended(Protocol):
    @property
    def revision(self) -> int: ...
    @property
    def end_s(self) -> float | None: ...


E = TypeVar("E", bound=_Ended)


class Recorder:
    """Hears what the scheduler hears and says. Everything that changes gets the next revision."""

    def __init__(self, scheduler: Scheduler, start_s: float) -> None:
        self._scheduler = scheduler
        self._start_s = start_s
        self.observers: list[Observer] = []
        self._revision = 0
        self._open: dict[str, _Request] = {}
        self._ended: deque[_Request] = deque(maxlen=MAX_REQUESTS)
        self._flying: dict[int, tuple[Chunk, float]] = {}  # with the begin predicted when it was submitted
        self._chunks: deque[_Chunk] = deque(maxlen=MAX_CHUNKS)
        self._predicted_s = float("-inf")

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self._revision

    @property
    def num_waiting(self) -> int:
        """Requests of which nothing has begun, and nothing is about to."""
        return sum(one.state is RequestState.WAITING for one in self._open.values())

    def observe(self, event: Event, commands: Sequence[Command], now_s: float) -> None:
        """An event was handled, and these commands came of it."""
        match event:
            case Arrived(request):
                self._arrive(request)
                self._tell(lambda observer: observer.arrived(request))
            case ChunkDone() | ChunkFailed():
                self._end(event)
            case ChunkLost():
                self._lose(event, now_s)
        for command in commands:
            match command:
                case Submit(chunks):
                    for chunk in chunks:
                        self._submit(chunk)
                case Complete(outcome):
                    self._complete(outcome)
        self._forget(now_s - KEEP_S)

    def decided(self, seconds: float) -> None:
        """A Tick was answered, and that took so long."""
        self._tell(lambda observer: observer.decided(seconds))

    def fail(self, now_s: float) -> None:
        """Nothing goes on any more: what runs is lost, nobody waits. The scheduler is not asked again."""
        for chunk, begin_s in self._flying.values():
            self._keep_lost(chunk, begin_s, now_s)
        self._flying.clear()
        for one in self._open.values():
            one.state, one.end_s, one.revision = RequestState.FAILED, now_s, self._next()
        self._ended.extend(self._open.values())
        self._open.clear()

    def look(self, now_s: float, seconds: float = KEEP_S, after: int = 0) -> Records:
        """What ended in the last `seconds` or has not ended, as far as it changed after a revision.

        Chunks that have not ended are always there.
        """
        self._predict(now_s)
        requests = [one for one in self._open.values() if one.revision > after]
        requests += _newest(self._ended, after, now_s - seconds)
        chunks = [self._chunk_record(*note[1:]) for note in _newest(self._chunks, after, now_s - seconds)]
        for chunk, _ in self._flying.values():
            chunks.append(self._chunk_record(chunk, ChunkState.PLANNED, *self._scheduler.flight_s(chunk.chunk_id)))
        told_s = self._since_start(now_s)
        return Records(self._revision, told_s, tuple(map(self._request_record, requests)), tuple(chunks))

    def _arrive(self, request: Request) -> None:
        self._open[request.request_id] = _Request(
            request.request_id,
            request.size,
            request.num_inference_steps,
            request.arrival_s,
            request.due_s,
            self._next(),
        )

    def _submit(self, chunk: Chunk) -> None:
        self._flying[chunk.chunk_id] = chunk, self._scheduler.flight_s(chunk.chunk_id)[0]
        revision = self._next()
        for request_id in chunk.request_ids:
            one = self._open[request_id]
            if one.state is RequestState.WAITING:
                one.state, one.revision = RequestState.RUNNING, revision

    def _end(self, event: ChunkDone | ChunkFailed) -> None:
        chunk, _ = self._flying.pop(event.chunk_id, (None, None))
        if chunk is None:
            return
        state = ChunkState.DONE if isinstance(event, ChunkDone) else ChunkState.FAILED
        revision = self._next()
        self._keep(_Chunk(revision, chunk, state, event.started_s, event.finished_s))
        for index, request_id in enumerate(chunk.request_ids):
            one = self._open[request_id]
            one.revision = revision
            if one.begin_s is None:
                one.begin_s = event.started_s
            if state is ChunkState.DONE and chunk.stage is Stage.DENOISE:
                one.num_steps_done = math.floor(chunk.first_steps[index] + chunk.num_steps)

    def _lose(self, event: ChunkLost, now_s: float) -> None:
        """Its requests wait again when nothing of them is in flight any more."""
        chunk, begin_s = self._flying.pop(event.chunk_id)
        self._keep_lost(chunk, begin_s, now_s)
        flying = {request_id for other, _ in self._flying.values() for request_id in other.request_ids}
        for request_id in set(chunk.request_ids) - flying:
            one = self._open[request_id]
            one.state, one.revision = RequestState.WAITING, self._next()

    def _keep_lost(self, chunk: Chunk, begin_s: float, now_s: float) -> None:
        if begin_s < now_s:
            self._keep(_Chunk(self._next(), chunk, ChunkState.LOST, begin_s, now_s))

    def _keep(self, note: _Chunk) -> None:
        self._chunks.append(note)
        self._tell(lambda observer: observer.chunk_ended(*note[1:]))

    def _complete(self, outcome: Outcome) -> None:
        one = self._open.pop(outcome.request.request_id)
        one.state, one.end_s, one.revision = RequestState(outcome.word), outcome.finished_s, self._next()
        self._ended.append(one)
        self._tell(lambda observer: observer.ended(outcome))

    def _tell(self, what: Callable[[Observer], None]) -> None:
        for observer in self.observers:
            try:
                what(observer)
            except Exception:
                logger.exception("%s failed; serving goes on", type(observer).__name__)

    def _forget(self, before_s: float) -> None:
        while self._chunks and self._chunks[0].end_s < before_s:
            self._chunks.popleft()
        while self._ended and _end_s(self._ended[0]) < before_s:
            self._ended.popleft()

    def _predict(self, now_s: float) -> None:
        """Bring the predicted ends of the unfinished up to date, not too often."""
        if not self._open or now_s < self._predicted_s + PREDICT_EVERY_S:
            return
        self._predicted_s = now_s
        ends_s = self._scheduler.predicted_ends_s(now_s) if len(self._open) <= MAX_PREDICTED else {}
        revision = self._next()
        for one in self._open.values():
            end_s = ends_s.get(one.request_id)
            if end_s != one.end_s:
                one.end_s, one.revision = end_s, revision

    def _next(self) -> int:
        self._revision += 1
        return self._revision

    def _request_record(self, one: _Request) -> RequestRecord:
        return RequestRecord(
            one.request_id,
            str(one.size),
            one.num_steps,
            self._since_start(one.arrival_s),
            self._since_start(one.deadline_s),
            one.num_steps_done,
            one.state,
            None if one.begin_s is None else self._since_start(one.begin_s),
            None if one.end_s is None else self._since_start(one.end_s),
        )

    def _chunk_record(self, chunk: Chunk, state: ChunkState, begin_s: float, end_s: float) -> ChunkRecord:
        times_s = self._since_start(begin_s), self._since_start(end_s)
        where = chunk.request_ids, chunk.devices, chunk.first_steps, chunk.num_steps
        return ChunkRecord(chunk.chunk_id, chunk.stage, *where, state, *times_s)

    def _since_start(self, at_s: float) -> float:
        return round(at_s - self._start_s, 4)


def _newest(kept: deque[E], after: int, from_s: float) -> Iterator[E]:
    """What changed after a revision and ended after a time, newest first: the others need no look."""
    for note in reversed(kept):
        if note.revision <= after or _end_s(note) < from_s:
            return
        yield note


def _end_s(note: _Ended) -> float:
    assert note.end_s is not None
    return note.end_s
