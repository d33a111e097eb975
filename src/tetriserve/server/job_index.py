"""All jobs that are known, in memory: what routes read. Knows nothing of where jobs are written down."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tetriserve.server.job_record import JobRecord


@dataclass(frozen=True, slots=True)
class Limits:
    """How many finished jobs are kept, for how long, and how many bytes their files may have."""

    max_finished: int
    ttl_s: float
    max_bytes: int


class JobIndex:
    """Owns the newest record of every job. Nothing leaves it but by `pop_expired`.

    Ages are counted on a clock that is not set: a wall clock that jumps makes nothing expire.
    """

    def __init__(self, limits: Limits, now_s: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._now_s = now_s
        self._records: dict[str, JobRecord] = {}
        self._finished_s: dict[str, float] = {}
        self._media_types: dict[str, str] = {}
        self._num_bytes = 0

    def put(self, record: JobRecord, age_s: float = 0.0) -> None:
        """A job is new, or has changed. One that is over, since `age_s`, does not change any more."""
        self._records[record.job_id] = record
        if record.is_over:
            assert record.job_id not in self._finished_s, f"{record.job_id} ended twice"
            self._finished_s[record.job_id] = self._now_s() - age_s
            self._num_bytes += record.num_bytes
            self._media_types.update((name, record.call.file_format.media_type) for name in record.files)

    def get(self, job_id: str) -> JobRecord | None:
        """None if there is no such job (any more)."""
        return self._records.get(job_id)

    def all(self) -> tuple[JobRecord, ...]:
        """In order of their making."""
        return tuple(self._records.values())

    def media_type(self, name: str) -> str | None:
        """What a file of a finished job is; None if there is no such file."""
        return self._media_types.get(name)

    @property
    def unfinished_bytes(self) -> int:
        """What the files of all jobs that are not over will take at most."""
        return sum(record.max_bytes for record in self._records.values() if not record.is_over)

    def pop_expired(self) -> list[JobRecord]:
        """Take out what has to go by number, age or bytes, those that ended first before others."""
        gone, now_s = [], self._now_s()
        while self._finished_s:
            oldest, finished_s = min(self._finished_s.items(), key=lambda one: one[1])
            crowded = len(self._finished_s) > 1 and self._num_bytes > self._limits.max_bytes
            too_many = len(self._finished_s) > self._limits.max_finished
            if not (crowded or too_many or finished_s + self._limits.ttl_s <= now_s):
                break
            gone.append(self._take(self._records[oldest]))
        return gone

    def _take(self, record: JobRecord) -> JobRecord:
        del self._finished_s[record.job_id], self._records[record.job_id]
        self._num_bytes -= record.num_bytes
        for name in record.files:
            del self._media_types[name]
        return record
