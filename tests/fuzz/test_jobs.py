"""A run goes on after whatever a case does to its process, counts its cases, and names the one that did it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz import jobs
from fuzz.feeder import Feeder
from fuzz.findings import Findings
from fuzz.jobs import Job, Running, run_side_by_side
from fuzz.target import FindingError

GOOD, BAD = b"good", b"bad"


def feeding(bad: Callable[[], None]) -> Callable[[int, int, Feeder], None]:
    """Good cases, and one in their midst that isn't."""

    def feed(cases: int, seed: int, feeder: Feeder) -> None:
        for index in range(cases):
            feeder.feed(*((BAD, bad) if index == cases // 2 else (GOOD, lambda: None)))

    return feed


def run(bad: Callable[[], None], directory: Path) -> tuple[list[Running], str, bytes]:
    """The jobs (the bad one, and another), what was found of the first, and in which case."""
    findings = Findings(directory)
    findings.clear({"bad", "good"})
    work = [Job("bad", "part", 10, 0, feeding(bad)), Job("good", "part", 7, 0, feeding(lambda: None))]
    *_, begun = run_side_by_side(work, 2, findings)
    (told,), (case,) = directory.glob("bad.*.txt"), directory.glob("bad.*.input")
    assert (findings.of("bad"), findings.of("good")) == (1, 0)
    assert (begun[1].count, begun[1].job.name) == (7, "good")
    return begun, told.read_text(encoding="utf-8"), case.read_bytes()


def object_to() -> None:
    raise FindingError("no words")


def test_a_finding_is_kept_and_the_other_cases_are_fed(tmp_path: Path) -> None:
    begun, told, case = run(object_to, tmp_path)
    assert (told, case, begun[0].count) == ("no words", BAD, 10)


def test_a_process_that_dies_of_a_case_leaves_the_case(tmp_path: Path) -> None:
    begun, told, case = run(lambda: os.kill(os.getpid(), signal.SIGKILL), tmp_path)
    assert told.startswith("ends its process with -9 (part)")
    assert (case, begun[0].count) == (BAD, 6)


def test_a_process_that_is_deaf_to_its_alarm_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "STUCK_S", 0.5)

    def deaf() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)

    begun, told, case = run(deaf, tmp_path)
    assert told.startswith("is stuck for 0.5 s")
    assert (case, begun[0].count) == (BAD, 6)


def test_what_was_found_before_is_forgotten(tmp_path: Path) -> None:
    findings = Findings(tmp_path / "found")
    findings.clear({"a target"})
    findings.add("a target", BAD, "breaks at 7")
    findings.add("a target", GOOD, "breaks at 8")
    findings.add("a target's other", BAD, "breaks")
    assert (findings.of("a target"), findings.of("a target's other")) == (1, 1)
    findings.clear({"a target"})
    assert (findings.of("a target"), findings.of("a target's other")) == (0, 1)
