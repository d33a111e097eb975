"""Where somebody must be left out, it is whoever counts least."""

from dataclasses import replace

import pytest

from scheduler.builders import LARGE, MEDIUM, make_request, run


@pytest.mark.parametrize("policy", ["default", "tetriserve"])
@pytest.mark.parametrize("heavy", ["a", "b", "c"])
def test_of_images_that_cannot_all_be_on_time_the_heaviest_is(policy: str, heavy: str) -> None:
    """Each takes 0.6 s on all eight devices, and all are due after 0.9 s."""
    requests = [replace(make_request(name, LARGE, slo_s=0.9), weight=4.0 if name == heavy else 1.0) for name in "abc"]
    result, _ = run(requests, policy)
    assert [one.request.request_id for one in result.outcomes if one.met_deadline] == [heavy]


@pytest.mark.parametrize("policy", ["default", "tetriserve"])
def test_a_heavy_image_is_worth_several_light_ones(policy: str) -> None:
    """Two medium images at full speed or one large one: 0.6 s of all devices."""
    light = [replace(make_request(f"l{i}", MEDIUM, 20, slo_s=0.62), weight=0.25) for i in range(2)]
    heavy = replace(make_request("h", LARGE, 10, slo_s=0.62), weight=4.0)
    result, _ = run([*light, heavy], policy)
    assert {one.request.request_id for one in result.outcomes if one.met_deadline} == {"h"}


@pytest.mark.parametrize("policy", ["default", "tetriserve"])
def test_under_overload_heavy_requests_keep_their_deadlines_more_often(policy: str) -> None:
    requests = [
        replace(make_request(f"r{i:03d}", LARGE, 10, 0.25 * i, 2.0), weight=4.0 if i % 3 == 0 else 1.0)
        for i in range(90)
    ]
    result, _ = run(requests, policy)
    met = {weight: [one.met_deadline for one in result.outcomes if one.request.weight == weight] for weight in (1, 4)}
    assert sum(met[4]) / len(met[4]) > sum(met[1]) / len(met[1]) + 0.2
