"""Degrees that nobody has measured."""

from dataclasses import replace

import pytest

from tetriserve.cost.extrapolation import extrapolated
from tetriserve.cost.profile import Profile, StepTime


def profile_of(*step_s: float) -> Profile:
    entries = tuple(StepTime(512, 512, 2**i, 1, seconds) for i, seconds in enumerate(step_s))
    return Profile("model", "gpu", len(step_s), "bfloat16", 512, "by hand", "2.11", "2026-11-25", entries)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ((0.9, 0.5), (0.3, 0.2)),  # 0.1 + 0.8 / degree
        ((0.8, 0.4), (0.2, 0.1)),
        ((0.3, 0.3), (0.3, 0.3)),
        ((0.3, 0.4), (0.4, 0.4)),  # no faster than what was measured
        ((9.0, 0.9, 0.5), (0.3,)),
    ],
)
def test_a_step_is_what_degrees_divide_and_what_they_do_not(
    measured: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    whole = extrapolated(profile_of(*measured), 8)
    found = {entry.degree: entry for entry in whole.entries}
    assert [entry.step_s for entry in whole.entries[: len(measured)]] == list(measured)
    degrees = (2, 4, 8)[3 - len(expected) :]
    assert [found[degree].step_s for degree in degrees] == pytest.approx(expected)
    assert {found[degree].origin for degree in degrees} == {"extrapolated"}


def test_what_is_known_stays_and_one_degree_tells_nothing() -> None:
    assert extrapolated(profile_of(0.9, 0.5), 2) == profile_of(0.9, 0.5)
    assert extrapolated(profile_of(0.9), 8) == profile_of(0.9)


def test_a_larger_image_is_never_faster() -> None:
    """Where measured times of small ones hardly fall: 6.9, 5.2 beside 10, 6, which would be 4.35 beside 4."""
    small, large = profile_of(6.9, 5.2), profile_of(10.0, 6.0)
    small = replace(small, entries=tuple(replace(entry, width=256, height=256) for entry in small.entries))
    both = extrapolated(replace(large, entries=(*large.entries, *small.entries)), 4)
    assert [(entry.width, entry.step_s) for entry in both.entries[4:]] == [(256, 4.35), (512, pytest.approx(4.35))]
