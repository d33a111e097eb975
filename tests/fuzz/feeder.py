"""Feeds cases in a process of its own: counts them where its parent looks, and leaves behind what it was at."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_uint64
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fuzz.findings import Findings
from fuzz.target import FindingError

HANGS_S = 25.0


class HungError(BaseException):
    """Not an Exception: nothing that reads may take it for one of its own."""


@dataclass(frozen=True)
class Feeder:
    """`count` is shared memory; `folder` holds the case at hand, and `files` for whatever reads."""

    name: str
    findings: Findings
    folder: Path
    count: c_uint64

    @property
    def files(self) -> Path:
        """A folder for what is read, made when first asked for."""
        path = self.folder / "files"
        path.mkdir(exist_ok=True)
        return path

    def feed(self, data: bytes, check: Callable[[], None]) -> None:
        """One case; goes on after a finding."""
        case_path(self.folder).write_bytes(data)
        self.count.value += 1
        try:
            with _at_most(HANGS_S):
                check()
        except (FindingError, HungError) as error:
            self.findings.add(self.name, data, str(error))


def case_path(folder: Path) -> Path:
    """Where the case at hand lies, also after its process has died of it."""
    return folder / "case"


@contextmanager
def _at_most(limit_s: float) -> Iterator[None]:
    def hung(_: int, __: FrameType | None) -> None:
        raise HungError(f"hangs for {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
