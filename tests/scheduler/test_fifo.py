"""The baselines."""

import pytest

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost, make_request, run
from tetriserve.core.errors import ConfigurationError
from tetriserve.scheduler.policies import POLICIES, make_policy
from tetriserve.scheduler.policies.fifo import solo_degree


def test_names() -> None:
    assert list(POLICIES) == [
        *("fixed-sp1", "fixed-sp2", "fixed-sp4", "fixed-sp8", "rssp"),
        *("edf", "srtf", "ddit", "genserve", "tetriserve", "default"),
    ]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'fifo' is not known; there are fixed-sp1, .*tetriserve"):
        make_policy("fifo", make_cost(), 8)


@pytest.mark.parametrize("num_devices", [1, 2, 3, 4, 6])
def test_a_degree_larger_than_the_machine_is_refused(num_devices: int) -> None:
    with pytest.raises(ConfigurationError, match=f"fixed-sp8 needs 8 devices.*there are {num_devices} devices"):
        make_policy("fixed-sp8", make_cost(num_devices), num_devices)


@pytest.mark.parametrize("degree", [1, 2, 4, 8])
def test_every_step_of_every_image_has_the_fixed_degree(degree: int) -> None:
    requests = [make_request(f"r{i}", size) for i, size in enumerate([SMALL, MEDIUM, LARGE] * 3)]
    result, _ = run(requests, f"fixed-sp{degree}")
    assert {degree for outcome in result.outcomes for degree in outcome.degrees} == {degree}


def test_nobody_overtakes_the_head_of_the_line() -> None:
    """`wide` waits for all four devices; `thin` came later and waits behind it, though a device is idle."""
    requests = [
        make_request("a-long", SMALL, 100, 0.0),
        make_request("b-wide", LARGE, 28, 0.1),
        make_request("c-thin", SMALL, 1, 0.2),
    ]
    result, _ = run(requests, "rssp", 4)
    starts = {done.chunk.request_ids[0]: done.started_s for done in reversed(result.chunks)}
    assert starts["b-wide"] == pytest.approx(2.0)
    assert starts["c-thin"] > starts["b-wide"]


def test_rssp_takes_the_cheapest_degree_that_meets_the_default_slo_alone() -> None:
    cost = make_cost()
    assert solo_degree(SMALL, 28, cost, cost.degrees) == 1
    assert solo_degree(MEDIUM, 28, cost, cost.degrees) == 2  # 28 x 0.08 s is over 2 s, 28 x 0.045 s is not
    assert solo_degree(LARGE, 28, cost, cost.degrees) == 8  # 28 x 0.11 s is over 3 s, 28 x 0.06 s is not


def test_rssp_takes_the_fastest_degree_if_none_meets_it() -> None:
    cost = make_cost()
    assert solo_degree(LARGE, 28, cost, (1, 2)) == 2


def test_devices_that_form_no_block_stay_out() -> None:
    result, _ = run([make_request(f"r{i}") for i in range(4)], "fixed-sp4", 6)
    assert {done.chunk.devices for done in result.chunks if done.chunk.degree == 4} == {(0, 1, 2, 3)}
