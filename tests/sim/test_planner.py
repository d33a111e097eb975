"""The planner's search on worlds whose answer is known."""

from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.builders import LARGE, make_cost, make_request
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.sim.planner import SCALES, Question, answer, plan, search


@pytest.fixture
def profile(tmp_path: Path) -> str:
    path = tmp_path / "toy.json"
    path.write_text(make_cost(8).profile.to_json())
    return str(path)


def spaced(slo_s: float) -> tuple[Request, ...]:
    """Large images that never meet: ten steps take 4 s at degree 1, 2.1 s at 2, 1.1 s at 4, 0.6 s at 8."""
    return tuple(make_request(f"r{i}", LARGE, 10, 10.0 * i, slo_s) for i in range(5))


def test_the_promise_is_the_least_scale_that_keeps_the_target(profile: str) -> None:
    row = search(Question(profile, spaced(1.01), 1.0, ("default",), (8,)), "default", 8)
    assert row.sar == 1.0
    assert row.slo_scale == 0.6
    assert len(row.points) <= 8, "bisection, not a scan"


def test_a_promise_may_be_longer_than_the_deadlines_of_the_trace(profile: str) -> None:
    row = search(Question(profile, spaced(1.0), 1.0, ("fixed-sp1",), (8,)), "fixed-sp1", 8)
    assert (row.sar, row.slo_scale) == (0.0, 4.0)


def test_who_keeps_no_promise_has_none(profile: str) -> None:
    row = search(Question(profile, spaced(0.5), 1.0, ("fixed-sp1",), (8,)), "fixed-sp1", 8)
    assert row.slo_scale is None
    assert {point.slo_scale for point in row.points} == {1.0, SCALES[-1]}


def test_the_fewest_gpus_win_then_the_shortest_promise(profile: str) -> None:
    question = Question(profile, spaced(1.2), 1.0, ("fixed-sp4", "default"), (4, 8))
    document = plan(question, 1, lambda done, total, what: None)
    found = document["answer"]
    assert (found["gpus"], found["policy"]) == (4, "fixed-sp4"), "equal promises: the first that was named"
    rows = [search(question, policy, gpus) for gpus in (4, 8) for policy in question.policies]
    slower = replace(rows[0], slo_scale=1.0)
    assert answer([slower, *rows[1:]], question) is rows[1]
    assert answer([replace(row, sar=0.9) for row in rows], question) is None


def test_bounds_tell_what_is_impossible(profile: str) -> None:
    question = Question(profile, spaced(1.2), 1.0, ("default",), (1, 2, 4))
    document = plan(question, 1, lambda done, total, what: None)
    assert [bound["bound_sar"] < 1.0 for bound in document["bounds"]] == [True, True, False]
    assert document["answer"]["gpus"] == 4


def test_processes_give_the_same_plan(profile: str) -> None:
    question = Question(profile, spaced(1.2), 1.0, ("default", "fixed-sp1"), (1, 4))
    seen = []
    alone, together = (plan(question, jobs, lambda done, total, what: seen.append(total)) for jobs in (1, 2))
    assert alone == together
    assert set(seen) == {4}


@pytest.mark.parametrize("target", [0.0, -1.0, 1.01, float("nan")])
def test_a_target_is_a_share(profile: str, target: float) -> None:
    with pytest.raises(ConfigurationError, match="target SAR is"):
        Question(profile, spaced(1.0), target, ("default",), (8,))
