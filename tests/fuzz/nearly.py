"""Cases from hypothesis that go on after a finding."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, Phase, given, seed, settings

from fuzz.findings import Findings
from fuzz.mutations import nearly_right
from fuzz.target import FindingError, Target

HANGS_S = 20.0


class HungError(BaseException):
    """Not an Exception: nothing that reads may take it for one of its own."""


def run_nearly_right(target: Target, cases: int, number: int, folder: Path, findings: Findings) -> int:
    """How many were run: `cases` times the target's share, fewer where there are no more."""
    count = 0

    @seed(number)
    @settings(
        max_examples=max(1, int(cases * target.share)),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(nearly_right(target))
    def check(data: bytes) -> None:
        nonlocal count
        count += 1
        try:
            with _at_most(HANGS_S):
                target.check(data, folder)
        except (FindingError, HungError) as error:
            findings.add(target.name, data, str(error))

    check()
    return count


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
