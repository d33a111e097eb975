"""What is learnt of deliveries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetriserve.runtime.delivery import MAX_KINDS, DeliveryTimes


def test_nothing_is_expected_of_what_was_never_delivered() -> None:
    times = DeliveryTimes()
    times.observe("small", 0.01)
    assert times.expected_s("large") == 0.0


def test_steady_times_are_expected_as_they_are_and_unsteady_ones_with_something_to_spare() -> None:
    times = DeliveryTimes()
    for number in range(100):
        times.observe("steady", 0.02)
        times.observe("unsteady", 0.01 if number % 2 else 0.03)
    assert times.expected_s("steady") == pytest.approx(0.02, rel=0.01)
    assert 0.03 < times.expected_s("unsteady") < 0.05


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=50))
def test_never_below_nothing_nor_beyond_what_was_seen_and_its_spread(seconds: list[float]) -> None:
    times = DeliveryTimes()
    for one in seconds:
        times.observe("any", one)
    assert 0.0 <= times.expected_s("any") <= 3 * max(seconds)


def test_one_that_stalls_is_no_measure_of_the_next() -> None:
    times = DeliveryTimes()
    for _ in range(50):
        times.observe("any", 0.02)
    times.observe("any", 10.0)
    assert times.expected_s("any") < 0.04


def test_most_of_the_time_is_left_to_make_the_image_whatever_was_learnt() -> None:
    times = DeliveryTimes()
    times.observe("any", 10.0)
    assert times.expected_s("any", 2.0) == 0.5


def test_what_is_remembered_is_bounded() -> None:
    times = DeliveryTimes()
    for number in range(MAX_KINDS + 10):
        times.observe(number, 1.0)
    assert times.expected_s(9) == 0.0
    assert times.expected_s(10) > 0.0
