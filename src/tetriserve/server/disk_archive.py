"""An archive that outlives the server: records in a database, files in a directory. All its work is on one thread."""

import asyncio
import errno
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import platformdirs
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tetriserve.core.errors import ConfigurationError
from tetriserve.server.archive import JobArchive, MemoryArchive
from tetriserve.server.config import MEMORY, ServerConfig
from tetriserve.server.errors import UnavailableError
from tetriserve.server.job_record import JobRecord, read_record, write_record
from tetriserve.server.journal import Journal
from tetriserve.server.state_dir import state_dir, write_safely

logger = logging.getLogger(__name__)

DATABASE_FILE = "jobs.db"
FILES_DIR = "results"
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

T = TypeVar("T")


@asynccontextmanager
async def open_archive(config: ServerConfig) -> AsyncIterator[JobArchive]:
    """The archive that was configured. Raises ConfigurationError if it can't be had."""
    if config.job_store == MEMORY:
        yield MemoryArchive()
        return
    url = None if config.job_store is None else database(config.job_store)
    with state_dir(config.state_dir or platformdirs.user_state_path("tetriserve")) as state:
        url = url or _own_database(state.path / DATABASE_FILE)
        with ThreadPoolExecutor(1, "jobs") as thread:
            journal = await asyncio.get_running_loop().run_in_executor(thread, Journal, url, state.server)
            try:
                yield DiskArchive(thread, journal, state.path / FILES_DIR)
            finally:
                thread.submit(journal.close)


def database(job_store: str) -> URL:
    """What is connected to, for which there is a driver here. Raises ConfigurationError."""
    try:
        url = make_url(job_store)
        url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
        url.get_dialect().import_dbapi()
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"job_store is no URL of a database: {error}") from error
    except ImportError as error:
        raise ConfigurationError(
            f"job_store {url.drivername} needs {error.name}: pip install 'tetriserve[postgres]'"
        ) from error
    return url


def _own_database(path: Path) -> URL:
    """In a file that is made, so that nobody else may read it."""
    path.touch(0o600)
    return URL.create("sqlite", database=str(path))


class DiskArchive:
    """A job's files are on the disk before its row says that it has ended, and its row goes before its files do.

    So a row never names a file that isn't there; files that no row names are removed by `load`.
    """

    outlives_server = True

    def __init__(self, thread: ThreadPoolExecutor, journal: Journal, files_dir: Path) -> None:
        self._thread = thread
        self._journal = journal
        self._dir = files_dir

    async def load(self) -> list[JobRecord]:
        """Also removes what a server that was killed has left half done. Raises ConfigurationError."""
        return await self._do(self._load)

    async def add(self, record: JobRecord, reserved_bytes: int) -> None:
        """Refused where the disk has less room than all jobs' files may take. Raises UnavailableError."""
        text, accepted_s = write_record(record), time.time()

        def work() -> None:
            free_bytes = shutil.disk_usage(self._dir).free
            if free_bytes < reserved_bytes:
                message = f"the disk has {free_bytes:,} bytes left; with this job, results may take {reserved_bytes:,}"
                raise UnavailableError(message, "storage_full", 507)
            self._journal.add(record.job_id, accepted_s, text)

        await self._do(work)

    async def change(self, records: Sequence[JobRecord]) -> None:
        """In one transaction. Raises UnavailableError."""
        texts = {record.job_id: write_record(record) for record in records}
        await self._do(lambda: self._journal.change(texts))

    async def end(self, record: JobRecord, files: Mapping[str, bytes]) -> bool:
        """Raises UnavailableError, and then may be called again with the same."""
        assert record.finished_at is not None
        finished_s, text = record.finished_at, write_record(record)

        def work() -> bool:
            try:
                for name, data in files.items():
                    write_safely(self._dir / name, data)
            except OSError:
                self._unlink(files)
                raise
            is_done = self._journal.end(record.job_id, finished_s, text)
            if not is_done:
                self._unlink(files)
            return is_done

        return await self._do(work)

    async def remove(self, records: Iterable[JobRecord]) -> None:
        """Raises UnavailableError."""
        gone = list(records)

        def work() -> None:
            self._journal.remove([record.job_id for record in gone])
            self._unlink(name for record in gone for name in record.files)

        await self._do(work)

    async def read(self, name: str) -> bytes | None:
        """`name` must be one that a record has: it becomes a path."""
        try:
            return await asyncio.to_thread((self._dir / name).read_bytes)
        except FileNotFoundError:
            return None

    def _load(self) -> list[JobRecord]:
        self._dir.mkdir(mode=0o700, exist_ok=True)
        rows, records = self._journal.load(), []
        for job_id, text in rows:
            try:
                records.append(read_record(text))
            except ValueError:
                logger.error("job %s can't be read and is left as it is; was it written by another version?", job_id)
        if len(records) == len(rows):
            named = {name for record in records for name in record.files}
            self._unlink([path.name for path in self._dir.iterdir() if path.name not in named])
        return records

    def _unlink(self, names: Iterable[str]) -> None:
        for name in names:
            (self._dir / name).unlink(missing_ok=True)

    async def _do(self, work: Callable[[], T]) -> T:
        """Work on the archive's thread, one thing after another. Raises UnavailableError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except OSError as error:
            if error.errno in FULL:
                raise UnavailableError("the disk of results is full", "storage_full", 507) from error
            raise UnavailableError(f"results can't be written now: {error}", "job_store_unavailable") from error
