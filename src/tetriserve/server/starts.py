"""How often a job is begun: one that brings the server down must not do so for ever, nor take others along."""

from dataclasses import replace

from tetriserve.server.job_record import JobRecord
from tetriserve.server.wire.errors import ErrorBody

SUSPECT_STARTS = 2
"""A job that was there when the server died so often is run while no other such one is; only then is it counted."""
MAX_STARTS = 5


def is_suspect(record: JobRecord) -> bool:
    """Whether it may be what brings the server down."""
    return record.num_starts >= SUSPECT_STARTS


def is_given_up(record: JobRecord) -> bool:
    """Whether it is not begun any more."""
    return record.num_starts >= MAX_STARTS


def begun(record: JobRecord) -> JobRecord:
    """The same, begun once more."""
    return replace(record, num_starts=record.num_starts + 1)


def acquitted(record: JobRecord) -> JobRecord:
    """The same, when the server that has begun it last ends in order."""
    return replace(record, num_starts=record.num_starts - 1)


def given_up(record: JobRecord) -> JobRecord:
    """Its end."""
    message = f"the server died {record.num_starts} times while this job ran; it is not run again"
    return replace(record, status="failed", error=ErrorBody(message=message, type="server_error", code="server_died"))
