"""Background jobs: calls that go on without their caller, and without this process where the archive outlives it."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tetriserve.core.errors import EngineError, RequestCancelledError, TetriServeError
from tetriserve.runtime.runtime import Progress
from tetriserve.runtime.service import Service
from tetriserve.server.admission import Gate
from tetriserve.server.answers import finish_all, report
from tetriserve.server.archive import JobArchive
from tetriserve.server.call import Call
from tetriserve.server.errors import UnavailableError, error_of
from tetriserve.server.job_index import JobIndex
from tetriserve.server.job_record import JobRecord
from tetriserve.server.starts import acquitted, begun, given_up, is_given_up, is_suspect
from tetriserve.server.wire.jobs import JobStatus

logger = logging.getLogger(__name__)

ID_BYTES = 16
TOKEN_BYTES = 32
RETRY_S = 1.0
"""How long to wait before a result that could not be written is written again."""
SWEEP_S = 30.0
"""How often old jobs are looked for where none ends."""


class Jobs:
    """Starts, follows and cancels jobs. A caller sees its own only."""

    def __init__(self, service: Service, gate: Gate, archive: JobArchive, index: JobIndex) -> None:
        self._service = service
        self._gate = gate
        self._archive = archive
        self._index = index
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()
        self._one_suspect = asyncio.Lock()
        self._suspended = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[int]:
        """Goes on with what an earlier process has left, gives how many jobs that are, and removes old ones."""
        num_resumed = await self._resume()
        sweeper = asyncio.ensure_future(self._sweep())
        try:
            yield num_resumed
        finally:
            sweeper.cancel()
            self.suspend(running=True)
            await asyncio.gather(sweeper, *self._tasks.values(), return_exceptions=True)
            # This server ends in order: what it leaves to the next one is not to blame for that.
            await self._change([acquitted(one) for one in self._index.all() if one.job_id in self._begun])

    async def start(self, call: Call) -> JobRecord:
        """Begin a job for a call that was admitted. Its id is not to be guessed. Raises UnavailableError."""
        job_id = f"job-{secrets.token_urlsafe(ID_BYTES)}"
        record = JobRecord(job_id, self._service.menu.card.name, call, int(time.time()))
        try:
            await self._archive.add(record, self._index.unfinished_bytes + record.max_bytes)
        except BaseException:
            self._gate.leave(call)
            raise
        self._index.put(record)
        self._begun.add(job_id)
        if self._suspended:
            self._gate.leave(call)
        else:
            self._soon(record, self._run(record))
        return record

    def get(self, job_id: str, caller: str) -> JobRecord | None:
        """The caller's job of that id."""
        record = self._index.get(job_id)
        return record if record is not None and record.call.caller == caller else None

    def of(self, caller: str) -> list[JobRecord]:
        """The caller's jobs, newest first."""
        return [record for record in self._index.all() if record.call.caller == caller][::-1]

    async def file(self, name: str) -> tuple[bytes, str] | None:
        """A file that a job has made, and its media type."""
        media_type = self._index.media_type(name)
        data = None if media_type is None else await self._archive.read(name)
        return None if data is None or media_type is None else (data, media_type)

    async def cancel(self, record: JobRecord) -> JobRecord:
        """Let a job leave at the end of its running chunk. One that is over stays as it is. Raises UnavailableError."""
        ended = replace(record, status="cancelled", finished_at=int(time.time()))
        if not record.is_over and await self._archive.end(ended, {}):
            self._update(ended)
            task = self._tasks.get(record.job_id)
            if task is not None:
                task.cancel()
        return self._index.get(record.job_id) or record

    def suspend(self, running: bool) -> None:
        """Give up the jobs that nothing was done for, or also the `running` ones; they are run after a restart."""
        self._suspended = True
        for job_id, task in self._tasks.items():
            record = self._index.get(job_id)
            if running or (record is not None and record.status == "queued" and self._archive.outlives_server):
                task.cancel()

    async def _resume(self) -> int:
        """Take over what another process has left; returns how many jobs run again.

        Those of another model wait for a server of that model.
        """
        served, strangers, unfinished = self._service.menu.card.name, 0, list[JobRecord]()
        for record in await self._archive.load():
            if record.is_over or record.model != served:
                self._index.put(record, record.age_s())
                strangers += not record.is_over
                continue
            mine = record.revived(self._service.runtime.new_request_id(), self._service.runtime.now_s())
            self._index.put(mine)
            self._gate.readmit(mine.call)
            unfinished.append(mine)
        for mine in await self._begin([one for one in unfinished if not is_suspect(one)]):
            self._soon(mine, self._run(mine))
        for mine in filter(is_suspect, unfinished):
            self._soon(mine, self._end(given_up(mine), {}) if is_given_up(mine) else self._run_suspect(mine))
        if strangers:
            logger.warning("%d unfinished jobs are for other models than %s; they stay queued", strangers, served)
        await self._expire()
        return len(self._tasks)

    async def _sweep(self) -> None:
        """Remove old jobs, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            await self._expire()

    async def _begin(self, records: Iterable[JobRecord]) -> list[JobRecord]:
        """The same, counted and written down before they run."""
        counted = [begun(record) for record in records]
        for record in counted:
            self._update(record)
        self._begun.update(record.job_id for record in counted)
        await self._change(counted)
        return counted

    async def _change(self, records: list[JobRecord]) -> None:
        try:
            if records:
                await self._archive.change(records)
        except UnavailableError as error:
            logger.warning("it can't be written that %d jobs were begun or left: %s", len(records), error)

    def _soon(self, record: JobRecord, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[record.job_id] = task
        task.add_done_callback(lambda _: self._forget(record))

    def _forget(self, record: JobRecord) -> None:
        del self._tasks[record.job_id]
        self._gate.leave(record.call)

    async def _run_suspect(self, record: JobRecord) -> None:
        """When no other suspect runs, so that only the one that runs is counted when the server dies."""
        async with self._one_suspect:
            (mine,) = await self._begin([record])
            await self._run(mine)

    async def _run(self, record: JobRecord) -> None:
        try:
            made = await self._work(record)
            if made is not None:
                await self._end(*made)
                await self._expire()
        finally:
            self._update(record)  # what has no end is as it was before it began

    async def _work(self, record: JobRecord) -> tuple[JobRecord, Mapping[str, bytes]] | None:
        """The job's end and its files; None if the engine is down and the next server is to run it."""
        done_by_request: dict[str, int] = {}

        def watch(progress: Progress) -> None:
            done_by_request[progress.request.request_id] = progress.num_steps_done
            self._update(replace(record, status="in_progress", num_steps_done=sum(done_by_request.values())))

        try:
            images = await finish_all(self._service, record.call, watch)
        except TetriServeError as error:
            if type(error) is EngineError and self._archive.outlives_server:
                return None
            status: JobStatus = "cancelled" if isinstance(error, RequestCancelledError) else "failed"
            return replace(record, status=status, error=error_of(error)[1]), {}
        files = {secrets.token_urlsafe(TOKEN_BYTES): one.file for one in images}
        done = replace(
            record,
            status="completed",
            num_steps_done=sum(done_by_request.values()),
            files=tuple(files),
            num_bytes=sum(len(data) for data in files.values()),
            report=report(record.call, images),
        )
        return done, files

    async def _end(self, ended: JobRecord, files: Mapping[str, bytes]) -> None:
        """Write an end down, as soon as that can be done; the job keeps its place in the queue until then."""
        over = replace(ended, finished_at=int(time.time()))
        while True:
            try:
                if await self._archive.end(over, files):
                    self._update(over)
                return
            except UnavailableError as error:
                logger.warning("job %s is done and can't be written, trying again: %s", ended.job_id, error)
                await asyncio.sleep(RETRY_S)

    async def _expire(self) -> None:
        gone = self._index.pop_expired()
        if gone:
            try:
                await self._archive.remove(gone)
            except UnavailableError as error:
                logger.warning("%d old jobs can't be removed before the next start: %s", len(gone), error)

    def _update(self, record: JobRecord) -> None:
        """Remember a change, unless the job is over."""
        known = self._index.get(record.job_id)
        if known is not None and not known.is_over:
            self._index.put(record)
            if record.is_over:
                self._begun.discard(record.job_id)
