"""The journal: background jobs in a database. SQL is here alone, the same for SQLite and PostgreSQL.

Belongs to one thread. Everything that changes is safe on disk when the call returns.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Engine,
    Float,
    Index,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from tetriserve.core.errors import ConfigurationError
from tetriserve.server.errors import UnavailableError

JOBS = Table(
    "tetriserve_jobs_1",  # another shape of records is another table
    MetaData(),
    Column("job_id", String(64), primary_key=True),
    Column("server", String(32), nullable=False),
    Column("accepted_s", Float, nullable=False),
    Column("finished_s", Float),
    Column("record", Text, nullable=False),
)
Index("tetriserve_jobs_1_server", JOBS.c.server, JOBS.c.accepted_s)

DISK_FULL = "53100"
"""PostgreSQL's word for it."""
POSTGRES_LIMITS = {"connect_timeout": 5, "tcp_user_timeout": 10_000}
"""Seconds to connect and milliseconds without an acknowledgement: a database that is gone must not hang the server."""


class Journal:
    """The jobs of one server, which is told from others by a name. Raises UnavailableError where it can't write."""

    def __init__(self, url: URL, server: str) -> None:
        """Raises ConfigurationError if there can be no such database."""
        self._server = server
        try:
            self._engine = _engine(url)
            JOBS.metadata.create_all(self._engine)
        except DBAPIError as error:
            shown = url.render_as_string(hide_password=True)
            raise ConfigurationError(f"job_store {shown}: {_reason(error)}") from error

    def load(self) -> list[tuple[str, str]]:
        """Ids and records of all jobs, in the order of `add`."""
        query = select(JOBS.c.job_id, JOBS.c.record).where(JOBS.c.server == self._server).order_by(JOBS.c.accepted_s)
        with _unavailable(), self._engine.connect() as connection:
            return [(row.job_id, row.record) for row in connection.execute(query)]

    def add(self, job_id: str, accepted_s: float, record: str) -> None:
        """A new job."""
        row = {"job_id": job_id, "server": self._server, "accepted_s": accepted_s, "record": record}
        with _unavailable(), self._engine.begin() as connection:
            connection.execute(insert(JOBS).values(row))

    def change(self, records: Mapping[str, str]) -> None:
        """New records, by id, of jobs that are not over; others are left as they are."""
        with _unavailable(), self._engine.begin() as connection:
            for job_id, record in records.items():
                row = update(JOBS).where(JOBS.c.job_id == job_id, JOBS.c.server == self._server)
                connection.execute(row.where(JOBS.c.finished_s.is_(None)).values(record=record))

    def end(self, job_id: str, finished_s: float, record: str) -> bool:
        """A job is over. False, and nothing is changed, if it isn't there or has ended otherwise.

        The same end again is none other: whether a commit was done is not known when a connection breaks in it.
        """
        ends_so = or_(JOBS.c.finished_s.is_(None), JOBS.c.record == record)
        row = update(JOBS).where(JOBS.c.job_id == job_id, JOBS.c.server == self._server, ends_so)
        with _unavailable(), self._engine.begin() as connection:
            done = connection.execute(row.values(finished_s=finished_s, record=record))
            return done.rowcount == 1

    def remove(self, job_ids: list[str]) -> None:
        """Forget jobs."""
        with _unavailable(), self._engine.begin() as connection:
            connection.execute(delete(JOBS).where(JOBS.c.server == self._server, JOBS.c.job_id.in_(job_ids)))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _set_up_sqlite)
        return engine
    limits = {name: value for name, value in POSTGRES_LIMITS.items() if name not in url.query}
    # A connection that broke meanwhile, say by a restart of the database, is noticed and replaced.
    return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, connect_args=limits)


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    """A commit is an fsync of the write-ahead log."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}").close()


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if _is_full(error):
            raise UnavailableError("the disk of the job store is full", "storage_full", 507) from error
        message = f"the job store can't be used now: {_reason(error)}"
        raise UnavailableError(message, "job_store_unavailable") from error


def _is_full(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == DISK_FULL


def _reason(error: Exception) -> str:
    """The database's own words, without the statement and its values."""
    text = str(error.orig if isinstance(error, DBAPIError) else error)
    return text.strip().partition("\n")[0]
