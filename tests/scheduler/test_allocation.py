"""The two-degree allocation against exhaustive search."""

from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost
from tetriserve.scheduler.policies.tetriserve.allocation import Share, StepCurve, allocate, lower_hull

EPSILON = 1e-6
STEP_TIMES = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4).map(
    lambda times: {1 << i: seconds for i, seconds in enumerate(sorted(times, reverse=True))}
)


def gpu_s(step_s: dict[int, float], degrees: tuple[int, ...]) -> float:
    return sum(degree * step_s[degree] for degree in degrees)


def duration_s(step_s: dict[int, float], degrees: tuple[int, ...]) -> float:
    return sum(step_s[degree] for degree in degrees)


def exhaustive(step_s: dict[int, float], num_steps: int, budget_s: float, most_degrees: int) -> float | None:
    """Least GPU time over all multisets of degrees with at most so many different ones."""
    return min(
        (
            gpu_s(step_s, degrees)
            for degrees in combinations_with_replacement(step_s, num_steps)
            if len(set(degrees)) <= most_degrees and duration_s(step_s, degrees) <= budget_s + EPSILON
        ),
        default=None,
    )


@given(STEP_TIMES, st.integers(1, 6), st.floats(0.01, 6.0))
@settings(max_examples=300, deadline=None)
def test_it_is_the_best_of_all_multisets_of_two_degrees(
    step_s: dict[int, float], num_steps: int, budget_s: float
) -> None:
    shares = allocate(step_s, num_steps, budget_s)
    best = exhaustive(step_s, num_steps, budget_s, 2)
    if best is None:
        assert shares is None
        return
    assert shares is not None
    assert sum(share.num_steps for share in shares) == num_steps
    taken = tuple(share.degree for share in shares for _ in range(share.num_steps))
    assert duration_s(step_s, taken) <= budget_s + 2 * EPSILON
    assert gpu_s(step_s, taken) == pytest.approx(best, abs=1e-4)


@given(STEP_TIMES, st.integers(1, 6), st.floats(0.01, 6.0))
@settings(max_examples=200, deadline=None)
def test_more_degrees_would_save_less_than_one_step(step_s: dict[int, float], num_steps: int, budget_s: float) -> None:
    """Two degrees suffice up to rounding to whole steps. Source: TetriServe §4.2.1."""
    shares = allocate(step_s, num_steps, budget_s)
    best = exhaustive(step_s, num_steps, budget_s, len(step_s))
    assert (shares is None) == (best is None)
    if shares is not None:
        cost = sum(share.num_steps * share.degree * step_s[share.degree] for share in shares)
        one_step = max(degree * seconds for degree, seconds in step_s.items())
        assert best - 1e-9 <= cost <= best + one_step + 1e-9


@given(STEP_TIMES, st.integers(1, 6), st.floats(0.01, 6.0))
@settings(max_examples=200, deadline=None)
def test_the_fluid_bound_never_exceeds_the_allocation(
    step_s: dict[int, float], num_steps: int, budget_s: float
) -> None:
    shares = allocate(step_s, num_steps, budget_s)
    if shares is None:
        return
    points = sorted((seconds, degree * seconds) for degree, seconds in step_s.items())
    curve = StepCurve(step_s, min(step_s.values()), lower_hull(points), tuple(sorted(step_s.items())))
    cost = sum(share.num_steps * share.degree * step_s[share.degree] for share in shares)
    assert curve.least_gpu_s(num_steps, budget_s + EPSILON) <= cost + 1e-3


def test_a_small_image_stays_on_one_device() -> None:
    curve = StepCurve.of(SMALL, make_cost(), 8)
    assert allocate(curve.step_s, 28, 1.5) == (Share(1, 28),)


def test_a_tight_deadline_mixes_a_slow_and_a_fast_degree() -> None:
    """Ten steps take 0.8 s at 80 ms each; each step at 45 ms instead saves 35 ms."""
    curve = StepCurve.of(MEDIUM, make_cost(), 8)
    assert allocate(curve.step_s, 10, 0.7) == (Share(1, 7), Share(2, 3))
    assert allocate(curve.step_s, 10, 0.69) == (Share(1, 6), Share(2, 4))


def test_no_plan_can_be_faster_than_the_fastest_degree() -> None:
    curve = StepCurve.of(LARGE, make_cost(), 8)
    assert allocate(curve.step_s, 10, 0.6) == (Share(8, 10),)
    assert allocate(curve.step_s, 10, 0.59) is None
    assert allocate(StepCurve.of(LARGE, make_cost(), 4).step_s, 10, 0.6) is None


def test_the_least_gpu_time_of_a_single_degree_survives_rounding() -> None:
    curve = StepCurve.of(SMALL, make_cost(1), 1)
    assert curve.least_gpu_s(9, 9 * 0.02 - 1e-16) == pytest.approx(0.18)
