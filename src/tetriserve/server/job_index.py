"""All jobs that are known, in memory: what routes read. Knows nothing of where jobs are written down."""

from dataclasses import dataclass

from tetriserve.server.job_record import JobRecord


@dataclass(frozen=True, slots=True)
class Limits:
    """How many finished jobs are kept, for how long, and how many bytes their files may have."""

    max_finished: int
    ttl_s: float
    max_bytes: int


class JobIndex:
    """Owns the newest record of every job. Nothing leaves it but by `pop_expired`."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._records: dict[str, JobRecord] = {}
        self._finished: dict[str, int] = {}
        self._media_types: dict[str, str] = {}
        self._num_bytes = 0

    def put(self, record: JobRecord) -> None:
        """A job is new, or has changed. One that is over does not change any more."""
        self._records[record.job_id] = record
        if record.finished_at is not None:
            assert record.job_id not in self._finished, f"{record.job_id} ended twice"
            self._finished[record.job_id] = record.finished_at
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

    def pop_expired(self, now_s: float) -> list[JobRecord]:
        """Take out what has to go by number, age or bytes, those that ended first before others."""
        gone = []
        while self._finished:
            finished_at, oldest = min(((at, job_id) for job_id, at in self._finished.items()), key=lambda one: one[0])
            crowded = len(self._finished) > 1 and self._num_bytes > self._limits.max_bytes
            too_many = len(self._finished) > self._limits.max_finished
            if not (crowded or too_many or finished_at + self._limits.ttl_s <= now_s):
                break
            gone.append(self._take(self._records[oldest]))
        return gone

    def _take(self, record: JobRecord) -> JobRecord:
        del self._finished[record.job_id], self._records[record.job_id]
        self._num_bytes -= record.num_bytes
        for name in record.files:
            del self._media_types[name]
        return record
