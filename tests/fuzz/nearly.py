"""Cases from hypothesis that go on after a finding: documents that are nearly right."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from fuzz.feeder import Feeder
from fuzz.mutations import nearly_right
from fuzz.target import Target


def without_end(cases: int) -> Any:
    """Settings for `cases` cases that are neither timed, nor kept, nor made smaller."""
    return settings(
        max_examples=max(1, cases),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


def feed_nearly_right(target: Target, cases: int, seed: int, feeder: Feeder) -> None:
    """Fewer, where there are no more."""

    @seeded(seed)
    @without_end(cases)
    @given(nearly_right(target))
    def check(data: bytes) -> None:
        feeder.feed(data, lambda: target.check(data, feeder.files))

    check()
