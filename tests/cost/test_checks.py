"""Profiles that can't be trusted are refused by name and value."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost
from tetriserve.core.chunk import Stage
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.checks import check_profile
from tetriserve.cost.packaged import DEFAULT_PROFILE, load_profile, packaged_profiles
from tetriserve.cost.profile import Profile, StageTime, StepTime

PROFILE = make_cost(8, 0.1, 0.2, 0.001).profile


def entries(change: Callable[[StepTime], StepTime | None]) -> Profile:
    changed = (change(entry) for entry in PROFILE.entries)
    return replace(PROFILE, entries=tuple(entry for entry in changed if entry is not None))


def test_a_complete_profile_passes_though_it_is_slower_at_a_higher_degree() -> None:
    assert make_cost().step_s(SMALL, 8) > make_cost().step_s(SMALL, 4)
    check_profile(PROFILE, (SMALL, MEDIUM, LARGE, Size(768, 768)), 8)


def test_a_size_outside_the_profile_is_missing() -> None:
    with pytest.raises(
        ConfigurationError, match=r"mine: no entry for size 2048x2048; it has sizes from 256x256 to 1024"
    ):
        check_profile(PROFILE, (SMALL, Size(2048, 2048)), 8, "mine")


def test_a_hole_in_the_profile_is_named() -> None:
    holed = entries(lambda entry: None if (entry.size, entry.degree) == (MEDIUM, 4) else entry)
    with pytest.raises(ConfigurationError, match="no entry for size 512x512 at degree 4 and batch 1"):
        check_profile(holed, (), 8)
    check_profile(holed, (), 2)


def test_a_skipped_degree_is_named() -> None:
    holed = entries(lambda entry: None if entry.degree == 2 else entry)
    with pytest.raises(ConfigurationError, match="at degree 2"):
        check_profile(holed, (), 8)


def test_times_that_fall_as_the_size_grows_are_refused() -> None:
    odd = entries(lambda e: replace(e, step_s=0.001) if (e.size, e.degree) == (LARGE, 2) else e)
    with pytest.raises(
        ConfigurationError, match=r"1024x1024 at degree 2 and batch 1 takes 0.001 s, less than the 0.045"
    ):
        check_profile(odd, (), 8)


def test_decoding_must_grow_too() -> None:
    quick = (StageTime(Stage.DECODE, 256, 256, 1, 0.2), StageTime(Stage.DECODE, 512, 512, 1, 0.1))
    with pytest.raises(ConfigurationError, match=r"decoding 512x512 takes 0.1 s, less than the 0.2 s"):
        check_profile(replace(PROFILE, stages=quick), (), 8)


def test_packaged_profiles_are_complete_and_tell_where_they_come_from() -> None:
    assert DEFAULT_PROFILE in packaged_profiles()
    for name in packaged_profiles():
        profile = load_profile(name)
        check_profile(profile, (Size(256, 256), Size(2048, 2048)), 8)
        assert (profile.how, profile.gpu, profile.measured_on) > ("", "", "")
        assert {entry.origin for entry in profile.entries} <= {"measured", "extrapolated"}


def test_an_unknown_profile_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'best' is neither a file nor one of .*flux1-dev.h100.eager"):
        load_profile("best")
