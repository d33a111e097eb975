"""Where background jobs are written down: what an archive does, and the one that ends with the process."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from tetriserve.server.job_record import JobRecord


class JobArchive(Protocol):
    """Records of jobs and the files that they made. Raises UnavailableError where it can't do its work now."""

    @property
    def outlives_server(self) -> bool:
        """Whether a job that is not over will be run by the next server."""
        ...

    async def load(self) -> list[JobRecord]:
        """All jobs that were added and not removed, oldest first."""
        ...

    async def add(self, record: JobRecord, reserved_bytes: int) -> None:
        """A new job. It is safe when this returns, and `reserved_bytes` of files have room."""
        ...

    async def change(self, records: Sequence[JobRecord]) -> None:
        """Write jobs anew that are not over. Raises UnavailableError."""
        ...

    async def end(self, record: JobRecord, files: Mapping[str, bytes]) -> bool:
        """A job is over, with these files. False, and nothing is done, if it was over already."""
        ...

    async def remove(self, records: Iterable[JobRecord]) -> None:
        """Forget jobs and their files."""
        ...

    async def read(self, name: str) -> bytes | None:
        """A file of a job that has ended, if it is there."""
        ...


class MemoryArchive:
    """Nothing of it is written anywhere."""

    outlives_server = False

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._files: dict[str, bytes] = {}

    async def load(self) -> list[JobRecord]:
        """There is nothing at first."""
        return []

    async def add(self, record: JobRecord, reserved_bytes: int) -> None:
        """Can't fail."""
        self._open.add(record.job_id)

    async def change(self, records: Sequence[JobRecord]) -> None:
        """There is nothing to write."""

    async def end(self, record: JobRecord, files: Mapping[str, bytes]) -> bool:
        """Keeps the files."""
        if record.job_id not in self._open:
            return False
        self._open.remove(record.job_id)
        self._files.update(files)
        return True

    async def remove(self, records: Iterable[JobRecord]) -> None:
        """Drops the files."""
        for record in records:
            for name in record.files:
                self._files.pop(name, None)

    async def read(self, name: str) -> bytes | None:
        """As it was kept."""
        return self._files.get(name)
