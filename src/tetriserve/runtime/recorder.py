"""Remembers the last minutes of a runtime for the board and the trace. Looks on; changes nothing.

Bounded in time and in number. Predictions are asked for only when somebody looks.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.commands import Command, Complete, Submit
from tetriserve.core.events import Arrived, ChunkDone, ChunkFailed, Event, WorkersLost
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.runtime.records import ChunkRecord, ChunkState, Records, RequestRecord, RequestState
from tetriserve.scheduler.scheduler import Scheduler

KEEP_S = 300.0
MAX_CHUNKS = 20_000
MAX_REQUESTS = 5_000
PREDICT_EVERY_S = 0.5
MAX_PREDICTED = 100
"""Beyond so many unfinished requests none gets a predicted end: the forecast would hold up the scheduler."""

R = TypeVar("R", RequestRecord, ChunkRecord)


class Recorder:
    """Hears what the scheduler hears and says. Everything that changes gets the next revision."""

    def __init__(self, scheduler: Scheduler, start_s: float) -> None:
        self._scheduler = scheduler
        self._start_s = start_s
        self._revision = 0
        self._open: dict[str, tuple[int, RequestRecord]] = {}
        self._flying: dict[int, ChunkRecord] = {}
        self._ended: deque[tuple[int, RequestRecord]] = deque(maxlen=MAX_REQUESTS)
        self._chunks: deque[tuple[int, ChunkRecord]] = deque(maxlen=MAX_CHUNKS)
        self._predicted_s = float("-inf")

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self._revision

    def observe(self, event: Event, commands: Sequence[Command], now_s: float) -> None:
        """An event was handled, and these commands came of it."""
        match event:
            case Arrived(request):
                self._put(self._arrived(request))
            case ChunkDone() | ChunkFailed():
                self._end(event)
            case WorkersLost():
                self._lose(self._since_start(now_s))
        for command in commands:
            match command:
                case Submit(chunks):
                    for chunk in chunks:
                        self._submit(chunk)
                case Complete(outcome):
                    self._complete(outcome)
        self._forget(self._since_start(now_s) - KEEP_S)

    def look(self, now_s: float, seconds: float = KEEP_S, after: int = 0) -> Records:
        """What ended in the last `seconds` or has not ended, as far as it changed after a revision."""
        self._predict(now_s)
        from_s = self._since_start(now_s) - seconds
        requests = [record for revision, record in self._open.values() if revision > after]
        requests += _newest(self._ended, after, from_s)
        chunks = [*_newest(self._chunks, after, from_s), *map(self._with_times, self._flying.values())]
        return Records(self._revision, self._since_start(now_s), tuple(requests), tuple(chunks))

    def _arrived(self, request: Request) -> RequestRecord:
        return RequestRecord(
            request.request_id,
            str(request.size),
            request.num_inference_steps,
            self._since_start(request.arrival_s),
            self._since_start(request.deadline_s),
        )

    def _submit(self, chunk: Chunk) -> None:
        times_s = self._scheduler.flight_s(chunk.chunk_id)
        self._flying[chunk.chunk_id] = ChunkRecord(
            chunk.chunk_id,
            chunk.stage,
            chunk.request_ids,
            chunk.devices,
            chunk.first_steps,
            chunk.num_steps,
            ChunkState.PLANNED,
            *map(self._since_start, times_s),
        )
        for request_id in chunk.request_ids:
            record = self._open[request_id][1]
            if record.state is RequestState.WAITING:
                self._put(replace(record, state=RequestState.RUNNING))
        self._revision += 1

    def _end(self, event: ChunkDone | ChunkFailed) -> None:
        record = self._flying.pop(event.chunk_id, None)
        if record is None:  # voided by a loss of workers
            return
        state = ChunkState.DONE if isinstance(event, ChunkDone) else ChunkState.FAILED
        begin_s, end_s = self._since_start(event.started_s), self._since_start(event.finished_s)
        self._keep(replace(record, state=state, begin_s=begin_s, end_s=end_s))
        for index, request_id in enumerate(record.request_ids):
            one = self._open[request_id][1]
            done = one.num_steps_done
            if state is ChunkState.DONE and record.stage is Stage.DENOISE:
                done = record.first_steps[index] + record.num_steps
            self._put(replace(one, num_steps_done=done, begin_s=begin_s if one.begin_s is None else one.begin_s))

    def _lose(self, now_s: float) -> None:
        for record in self._flying.values():
            if record.begin_s < now_s:
                self._keep(replace(record, state=ChunkState.LOST, end_s=now_s))
        self._flying.clear()
        for _, one in tuple(self._open.values()):
            self._put(replace(one, num_steps_done=0, state=RequestState.WAITING))

    def _complete(self, outcome: Outcome) -> None:
        _, record = self._open.pop(outcome.request.request_id)
        self._revision += 1
        ended = replace(record, state=_state(outcome), end_s=self._since_start(outcome.finished_s))
        self._ended.append((self._revision, ended))

    def _put(self, record: RequestRecord) -> None:
        self._revision += 1
        self._open[record.request_id] = self._revision, record

    def _keep(self, record: ChunkRecord) -> None:
        self._revision += 1
        self._chunks.append((self._revision, record))

    def _forget(self, before_s: float) -> None:
        while self._chunks and self._chunks[0][1].end_s < before_s:
            self._chunks.popleft()
        while self._ended and _end_s(self._ended[0][1]) < before_s:
            self._ended.popleft()

    def _predict(self, now_s: float) -> None:
        """Bring the predicted ends of the unfinished up to date, not too often."""
        if not self._open or now_s < self._predicted_s + PREDICT_EVERY_S:
            return
        self._predicted_s = now_s
        ends_s = self._scheduler.predicted_ends_s(now_s) if len(self._open) <= MAX_PREDICTED else {}
        for _, one in tuple(self._open.values()):
            end_s = ends_s.get(one.request_id)
            found_s = None if end_s is None else self._since_start(end_s)
            if found_s != one.end_s:
                self._put(replace(one, end_s=found_s))

    def _with_times(self, record: ChunkRecord) -> ChunkRecord:
        begin_s, end_s = map(self._since_start, self._scheduler.flight_s(record.chunk_id))
        return replace(record, begin_s=begin_s, end_s=end_s)

    def _since_start(self, at_s: float) -> float:
        return round(at_s - self._start_s, 4)


def _newest(kept: deque[tuple[int, R]], after: int, from_s: float) -> Iterator[R]:
    """What changed after a revision and ended after a time, newest first: the others need no look."""
    for revision, record in reversed(kept):
        if revision <= after or _end_s(record) < from_s:
            return
        yield record


def _end_s(record: RequestRecord | ChunkRecord) -> float:
    assert record.end_s is not None
    return record.end_s


def _state(outcome: Outcome) -> RequestState:
    if outcome.cancelled:
        return RequestState.CANCELLED
    if outcome.error is not None:
        return RequestState.FAILED
    return RequestState.MET if outcome.met_deadline else RequestState.LATE
