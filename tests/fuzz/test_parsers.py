"""Everything that parses says what it has against its input. `scripts/fuzz` does the same for longer."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from fuzz.mutations import nearly_right
from fuzz.target import FindingError, Target
from fuzz.targets import TARGETS
from tetriserve.core.errors import MAX_CHARS, ConfigurationError

NUM_CASES = 40


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_is_read_is_taken_or_refused_in_words(target: Target, tmp_path: Path) -> None:
    @settings(
        max_examples=max(2, int(NUM_CASES * target.share)),
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(nearly_right(target))
    def check(data: bytes) -> None:
        target.check(data, tmp_path)

    check()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_documents_that_are_changed_are_right_to_begin_with(target: Target, tmp_path: Path) -> None:
    for document in target.documents:
        target.read(target.write(document), tmp_path)


@pytest.mark.parametrize("text", ["two\nlines", "x" * (MAX_CHARS + 1), "\ud800", "\x1b[2J", ""])
def test_an_error_that_can_not_be_shown_is_a_finding(text: str, tmp_path: Path) -> None:
    def refuse(_: bytes, __: Path) -> None:
        raise OSError(text)

    with pytest.raises(FindingError):
        Target("refusing", refuse, ({},), errors=(OSError,)).check(b"", tmp_path)
    with pytest.raises(FindingError, match="OSError"):
        Target("failing", refuse, ({},), errors=(ConfigurationError,)).check(b"", tmp_path)


def test_the_longest_error_of_the_product_is_no_finding(tmp_path: Path) -> None:
    def refuse(_: bytes, __: Path) -> None:
        raise ConfigurationError("x" * 5 * MAX_CHARS)

    Target("refusing", refuse, ({},)).check(b"", tmp_path)
