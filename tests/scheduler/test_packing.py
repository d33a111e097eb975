"""The group knapsack against exhaustive search, and what its options are worth."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request_view
from tetriserve.core.size import Size
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate, Round
from tetriserve.scheduler.policies.tetriserve.capacity import fits, usable
from tetriserve.scheduler.policies.tetriserve.packing import SURVIVOR, Option, options, pack
from tetriserve.scheduler.policies.tetriserve.placement import Demand, place

MACHINES = st.sampled_from([1, 2, 3, 4, 6, 8])
FREE = MACHINES.flatmap(lambda num: st.tuples(st.just(num), st.sets(st.integers(0, num - 1), min_size=1).map(tuple)))
GROUPS = st.lists(
    st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(0, 20)), max_size=3, unique_by=lambda pair: pair[0]),
    max_size=5,
)


def candidate(size: Size = MEDIUM, steps: int = 10, deadline_s: float = 2.0, **rest: float) -> Candidate:
    view = make_request_view("a", size, steps, deadline_s, **rest)
    return Candidate.of(view, StepCurve.of(size, make_cost(), 8), 0.0)


def survives(option: Option) -> bool:
    return option.value > SURVIVOR / 2


@given(FREE, GROUPS)
@settings(max_examples=300, deadline=None)
def test_it_is_the_best_of_all_combinations_that_can_be_placed(
    machine: tuple[int, tuple[int, ...]], drawn: list[list[tuple[int, int]]]
) -> None:
    num_devices, free = machine
    limits = usable(free, num_devices)
    groups = [
        [Option(0, 0, 5.0), *(Option(degree, 1, value) for degree, value in group if degree <= max(limits))]
        for group in drawn
    ]
    chosen = pack(groups, limits)
    assert all(option in group for option, group in zip(chosen, groups, strict=True))
    place([Demand(str(i), o.degree, ()) for i, o in enumerate(chosen) if o.degree], free, num_devices)
    best = max(
        sum(option.value for option in combination)
        for combination in product(*groups)
        if fits([option.degree for option in combination if option.degree], limits)
    )
    assert sum(option.value for option in chosen) == pytest.approx(best)


@given(FREE, st.lists(st.sampled_from([1, 2, 4, 8]), max_size=6))
@settings(max_examples=300, deadline=None)
def test_what_fits_can_be_placed_and_nothing_else(machine: tuple[int, tuple[int, ...]], degrees: list[int]) -> None:
    num_devices, free = machine
    demands = [Demand(str(index), degree, ()) for index, degree in enumerate(degrees)]
    if fits(degrees, usable(free, num_devices)):
        blocks = list(place(demands, free, num_devices).values())
        assert sorted(len(block) for block in blocks) == sorted(degrees)
        assert len({device for block in blocks for device in block}) == sum(degrees)
    else:
        with pytest.raises(AssertionError, match="no free block"):
            place(demands, free, num_devices)


def test_a_machine_in_pieces_offers_what_its_pieces_hold() -> None:
    assert usable(tuple(range(8)), 8) == {1: 8, 2: 8, 4: 8, 8: 8}
    assert usable((1, 2, 3, 4), 8) == {1: 4, 2: 2}
    assert usable(tuple(range(6)), 6) == {1: 6, 2: 6, 4: 4}


def test_options_are_none_and_the_degrees_of_the_allocation() -> None:
    found = options(candidate(MEDIUM, 10, 0.7), Round(0.0, 0.3), 8)
    assert [(option.degree, option.num_steps) for option in found] == [(0, 0), (1, 3), (2, 6)]


def test_a_degree_without_a_free_block_becomes_the_largest_there_is() -> None:
    found = options(candidate(LARGE, 10, 0.65), Round(0.0, 0.3), 4)
    assert [(option.degree, option.num_steps) for option in found] == [(0, 0), (4, 2)]


def test_a_step_longer_than_the_round_is_an_option_of_one_step() -> None:
    found = options(candidate(LARGE, 10, 100.0), Round(0.0, 0.3), 8)
    assert [(option.degree, option.num_steps) for option in found] == [(0, 0), (1, 1)]


def test_encoding_counts_inside_the_round() -> None:
    (_, option) = options(candidate(SMALL, 28, 100.0, encode_s=0.1), Round(0.0, 0.3), 8)
    assert option.num_steps == 10


def test_survival_counts_the_decoding() -> None:
    """Ten steps of 60 ms leave 0.1 s of slack: a round of 0.3 s without steps is too much."""
    none, *_, run = options(candidate(LARGE, 10, 0.9, decode_s=0.2), Round(0.0, 0.3), 8)
    assert not survives(none)
    assert survives(run)


def test_what_ends_within_the_round_survives_by_its_own_end() -> None:
    """The deadline is inside the round; the paper's formula would count from the end of the round."""
    _, run = options(candidate(MEDIUM, 2, 0.2), Round(0.0, 0.3), 8)
    assert survives(run)


def test_more_survivors_beat_any_saving_of_gpu_time() -> None:
    groups = [
        [Option(0, 0, -1.0), Option(8, 5, SURVIVOR - 500.0)],
        [Option(0, 0, -1.0), Option(4, 5, SURVIVOR - 900.0)],
        [Option(0, 0, -1.0), Option(4, 5, SURVIVOR - 900.0)],
    ]
    assert [option.degree for option in pack(groups, usable(tuple(range(8)), 8))] == [0, 4, 4]


def test_nobody_to_pack() -> None:
    assert pack([], usable(tuple(range(8)), 8)) == ()
