"""What is known of a background job, and how that is written down."""

import time
from dataclasses import dataclass, replace
from typing import Self

from pydantic import TypeAdapter

from tetriserve.core.errors import InvalidRequestError
from tetriserve.server.call import Call
from tetriserve.server.wire.errors import ErrorBody
from tetriserve.server.wire.images import ServingReport
from tetriserve.server.wire.jobs import JobStatus

BYTES_PER_PIXEL = 3
FILE_OVERHEAD_BYTES = 64 << 10
"""Headers, and what compression adds to an image that can't be compressed."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """All that is known of a job of `model`. Times in Unix seconds; `files` are names of `num_bytes` in all.

    `num_starts`: so often was it begun; those don't count that ended in order.
    """

    job_id: str
    model: str
    call: Call
    created_at: int
    status: JobStatus = "queued"
    num_steps_done: int = 0
    finished_at: int | None = None
    files: tuple[str, ...] = ()
    num_bytes: int = 0
    report: ServingReport | None = None
    error: ErrorBody | None = None
    num_starts: int = 1

    @property
    def is_over(self) -> bool:
        """Whether nothing will become of it any more."""
        return self.finished_at is not None

    @property
    def max_bytes(self) -> int:
        """What its files take at most."""
        params = self.call.params
        return params.n * (params.size.width * params.size.height * BYTES_PER_PIXEL + FILE_OVERHEAD_BYTES)

    def age_s(self) -> float:
        """Since when it is over, by the clock on the wall; another process has no other."""
        return 0.0 if self.finished_at is None else max(0.0, time.time() - self.finished_at)

    def revived(self, request_id: str, now_s: float) -> Self:
        """The same for another process, whose clock shows `now_s`: it waits again, its deadline stays."""
        waited_s = max(0.0, time.time() - self.created_at)
        call = replace(self.call, request_id=request_id, arrival_s=now_s - waited_s)
        return replace(self, call=call, status="queued", num_steps_done=0)


_RECORD = TypeAdapter(JobRecord)


def write_record(record: JobRecord) -> str:
    """As JSON."""
    return _RECORD.dump_json(record).decode()


def read_record(text: str) -> JobRecord:
    """From JSON. Raises ValueError."""
    try:
        return _RECORD.validate_json(text)
    except (InvalidRequestError, OverflowError) as error:  # another version had other limits; or no version had such
        raise ValueError(str(error)) from error
