"""Jobs side by side, each in a fork of this process: what one of them breaks is the child's alone."""

import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_uint64
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path

from fuzz.feeder import Feeder, case_path
from fuzz.findings import Findings

STUCK_S = 120.0
"""Without another case: the alarm that ends a case didn't get through."""
POLL_S = 0.1
TAIL_CHARS = 1500
MAX_BYTES = 6 * 2**30
"""Of memory that a process may ask for: what takes more must not take other processes with it."""
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Job:
    """`feed` gets `cases`, `seed` and a feeder; `name` is the target's, whatever `part` of its cases this is."""

    name: str
    part: str
    cases: int
    seed: int
    feed: Callable[[int, int, Feeder], None]


@dataclass
class Running:
    """A job, its process, and how far it is."""

    job: Job
    findings: Findings
    started_s: float = field(default_factory=time.monotonic)
    ended_s: float | None = None

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._count = FORK.RawValue(c_uint64)
        self._seen, self._seen_s = 0, self.started_s
        self._process: ForkProcess = FORK.Process(target=self._run)
        self._process.start()

    @property
    def count(self) -> int:
        """Cases so far."""
        return self._count.value

    @property
    def seconds(self) -> float:
        """So far, or in all."""
        return (self.ended_s or time.monotonic()) - self.started_s

    def look(self) -> bool:
        """Whether it is over. A process that dies or is stuck is a finding."""
        now_s = time.monotonic()
        if self.count != self._seen:
            self._seen, self._seen_s = self.count, now_s
        if self._process.is_alive():
            if now_s - self._seen_s < STUCK_S:
                return False
            self._process.kill()
            self._process.join()
            self._blame(f"is stuck for {STUCK_S:g} s")
        elif self._process.exitcode:
            self._blame(f"ends its process with {self._process.exitcode}")
        self.ended_s = now_s
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def stop(self) -> None:
        """At once."""
        self._process.kill()
        self._process.join()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self) -> None:
        with (self.folder / "log").open("wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
        feeder = Feeder(self.job.name, self.findings, self.folder, self._count)
        self.job.feed(self.job.cases, self.job.seed, feeder)

    def _blame(self, what: str) -> None:
        case = case_path(self.folder)
        tail = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-TAIL_CHARS:]
        self.findings.add(
            self.job.name, case.read_bytes() if case.exists() else b"", f"{what} ({self.job.part})\n{tail}"
        )


def run_side_by_side(jobs: Sequence[Job], width: int, findings: Findings) -> Iterator[list[Running]]:
    """Those that have run or run, ever again until all are over. `width` at a time."""
    waiting, running, begun = list(jobs), [], []
    try:
        while waiting or running:
            while waiting and len(running) < width:
                begun.append(Running(waiting.pop(0), findings))
                running.append(begun[-1])
            time.sleep(POLL_S)
            running = [one for one in running if not one.look()]
            yield begun
    finally:
        for one in running:
            one.stop()
