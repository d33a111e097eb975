"""Background jobs: calls that go on without their caller. Owns their tasks; what is known of them is in a store."""

import asyncio
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from tetriserve.core.errors import RequestCancelledError, TetriServeError
from tetriserve.runtime.runtime import Progress
from tetriserve.runtime.service import Service
from tetriserve.server.admission import Gate
from tetriserve.server.answers import finish_all, report
from tetriserve.server.call import Call
from tetriserve.server.errors import error_of
from tetriserve.server.results import ResultStore
from tetriserve.server.wire.errors import ErrorBody
from tetriserve.server.wire.images import ServingReport
from tetriserve.server.wire.jobs import JobStatus

ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class JobRecord:
    """All that is known of a job. Times in Unix seconds; `files` are names in the result store."""

    job_id: str
    call: Call
    created_at: int
    status: JobStatus = "queued"
    num_steps_done: int = 0
    finished_at: int | None = None
    files: tuple[str, ...] = ()
    report: ServingReport | None = None
    error: ErrorBody | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.finished_at is not None


class JobStore(Protocol):
    """Where jobs are remembered: a journal that outlives the process would stand behind the same three calls."""

    def put(self, record: JobRecord) -> None:
        """A job is new, or has changed."""
        ...

    def get(self, job_id: str) -> JobRecord | None:
        """The newest record of a job."""
        ...

    def all(self) -> Iterable[JobRecord]:
        """All jobs, oldest first."""
        ...


class MemoryJobs:
    """A JobStore that ends with the process and forgets the oldest finished jobs."""

    def __init__(self, max_finished: int) -> None:
        self._max_finished = max_finished
        self._records: dict[str, JobRecord] = {}
        self._finished: dict[str, None] = {}

    def put(self, record: JobRecord) -> None:
        """Keep it, and no more finished ones than allowed."""
        self._records[record.job_id] = record
        if record.is_over:
            self._finished[record.job_id] = None
        while len(self._finished) > self._max_finished:
            oldest = next(iter(self._finished))
            del self._finished[oldest], self._records[oldest]

    def get(self, job_id: str) -> JobRecord | None:
        """None if there is no such job (any more)."""
        return self._records.get(job_id)

    def all(self) -> Iterable[JobRecord]:
        """In order of their making."""
        return tuple(self._records.values())


class Jobs:
    """Starts, follows and cancels jobs. A caller sees its own only."""

    def __init__(self, service: Service, gate: Gate, results: ResultStore, store: JobStore) -> None:
        self._service = service
        self._gate = gate
        self._results = results
        self._store = store
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, call: Call) -> JobRecord:
        """Begin a job for a call that was admitted. Its id is not to be guessed."""
        record = JobRecord(f"job-{secrets.token_urlsafe(ID_BYTES)}", call, int(time.time()))
        self._store.put(record)
        task = asyncio.ensure_future(self._run(record))
        self._tasks[record.job_id] = task
        task.add_done_callback(lambda _: self._forget(record))
        return record

    def get(self, job_id: str, caller: str) -> JobRecord | None:
        """The caller's job of that id."""
        record = self._store.get(job_id)
        return record if record is not None and record.call.caller == caller else None

    def of(self, caller: str) -> list[JobRecord]:
        """The caller's jobs, newest first."""
        return [record for record in self._store.all() if record.call.caller == caller][::-1]

    def cancel(self, record: JobRecord) -> JobRecord:
        """Let a job leave at the end of its running chunk. One that is over stays as it is."""
        if record.is_over:
            return record
        ended = replace(record, status="cancelled", finished_at=int(time.time()))
        self._store.put(ended)
        task = self._tasks.get(record.job_id)
        if task is not None:
            task.cancel()
        return ended

    async def _run(self, record: JobRecord) -> None:
        done_by_request: dict[str, int] = {}

        def watch(progress: Progress) -> None:
            done_by_request[progress.request.request_id] = progress.num_steps_done
            self._update(replace(record, status="in_progress", num_steps_done=sum(done_by_request.values())))

        try:
            images = await finish_all(self._service, record.call, watch)
        except TetriServeError as error:
            status: JobStatus = "cancelled" if isinstance(error, RequestCancelledError) else "failed"
            ended = replace(record, status=status, error=error_of(error)[1])
        else:
            files = tuple(self._results.put(one.file, record.call.file_format.media_type) for one in images)
            steps = sum(done_by_request.values())
            ended = replace(
                record, status="completed", num_steps_done=steps, files=files, report=report(record.call, images)
            )
        self._update(replace(ended, finished_at=int(time.time())))

    def _forget(self, record: JobRecord) -> None:
        del self._tasks[record.job_id]
        self._gate.leave(record.call)

    def _update(self, record: JobRecord) -> None:
        """Remember a change, unless the job was cancelled meanwhile."""
        known = self._store.get(record.job_id)
        if known is not None and not known.is_over:
            self._store.put(record)
