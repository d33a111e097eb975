"""The cost model between and beyond what was measured."""

import logging
import math
from dataclasses import replace

import pytest

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S, default_slo_s, interpolate_slo_s
from tetriserve.cost.model import CostModel


def test_measured_sizes_are_answered_as_measured() -> None:
    cost = make_cost(8, 0.1, 0.2)
    assert cost.step_s(MEDIUM, 2) == pytest.approx(0.045)
    assert cost.step_gpu_s(MEDIUM, 2) == pytest.approx(0.09)
    assert cost.stage_s(Stage.DECODE, LARGE) == pytest.approx(0.2)
    assert cost.solo_s(LARGE, 10) == pytest.approx(0.1 + 10 * 0.06 + 0.2)
    assert cost.solo_s(LARGE, 10, 1) == pytest.approx(0.1 + 10 * 0.4 + 0.2)


def test_sizes_between_are_interpolated_and_outside_extended() -> None:
    cost = make_cost()
    assert 0.02 < cost.step_s(Size(384, 384), 1) < 0.08
    assert cost.step_s(Size(2048, 2048), 1) > 0.4
    assert 0 < cost.step_s(Size(128, 128), 1) < 0.02
    assert cost.step_s(Size(256, 1024), 1) == pytest.approx(cost.step_s(Size(512, 512), 1))


def test_the_fastest_degree_is_not_always_the_largest() -> None:
    cost = make_cost()
    assert cost.fastest_degree(SMALL) == 4
    assert cost.fastest_degree(LARGE) == 8
    assert cost.min_step_s(SMALL) == pytest.approx(0.017)


def test_only_degrees_of_this_machine_are_answered() -> None:
    cost = make_cost(3)
    assert cost.degrees == (1, 2)
    with pytest.raises(KeyError, match="degree 4"):
        cost.step_s(MEDIUM, 4)


def test_batches_are_those_measured() -> None:
    cost = make_cost()
    assert cost.batches(1) == (1, 2)
    assert cost.batches(2) == (1,)


def test_a_batch_is_known_only_where_it_was_measured() -> None:
    cost = make_cost()
    batched = next(entry.size for entry in cost.profile.entries if entry.batch == 2)
    assert cost.batches(1, batched) == (1, 2)
    assert cost.batches(1, Size(4096, 4096)) == (1,)
    assert cost.step_s(SMALL, 1, 2) == pytest.approx(0.03)


def test_a_chunk_takes_its_steps_and_the_switch() -> None:
    cost = make_cost(8, 0.1, 0.2, 0.005)
    steps = Chunk(0, Stage.DENOISE, ("a",), (0, 1), (0,), 10)
    assert cost.chunk_s(steps, MEDIUM) == pytest.approx(0.45)
    assert cost.chunk_s(steps, MEDIUM, moved=True) == pytest.approx(0.455)
    assert cost.chunk_s(Chunk(0, Stage.ENCODE, ("a",), (0,)), MEDIUM, moved=True) == pytest.approx(0.1)
    both = Chunk(0, Stage.DENOISE, ("a", "b"), (0,), (0, 0), 10)
    assert cost.chunk_s(both, SMALL) == pytest.approx(0.3)


def test_an_unmeasured_switch_is_said_and_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        cost = CostModel(replace(make_cost().profile, switch_s=None), 8)
    assert cost.switch_s == 0.0
    assert "switch_s" in caplog.text


def test_a_profile_without_a_usable_degree_is_refused() -> None:
    profile = make_cost().profile
    only_wide = replace(profile, entries=tuple(entry for entry in profile.entries if entry.degree == 8))
    with pytest.raises(ConfigurationError, match="no degree up to 4"):
        CostModel(only_wide, 4)


def test_unprofiled_stages_cost_nothing() -> None:
    assert CostModel(replace(make_cost().profile, stages=()), 8).stage_s(Stage.DECODE, SMALL) == 0.0


@pytest.mark.parametrize("size", PAPER_SLO_S)
def test_the_papers_deadlines(size: Size) -> None:
    assert interpolate_slo_s(size, PAPER_SLO_S) == pytest.approx(PAPER_SLO_S[size])


def test_deadlines_between_and_beyond_the_table() -> None:
    assert 2.0 < interpolate_slo_s(Size(768, 768), PAPER_SLO_S) < 3.0
    assert interpolate_slo_s(Size(64, 64), PAPER_SLO_S) == 1.5
    assert interpolate_slo_s(Size(4096, 4096), PAPER_SLO_S) == 5.0


def test_a_default_deadline_can_always_be_met_alone() -> None:
    cost = make_cost(1)
    assert default_slo_s(LARGE, 28, cost) == pytest.approx(1.5 * 28 * 0.4)
    assert default_slo_s(SMALL, 1, cost) == 1.5
    assert math.isfinite(default_slo_s(Size(16, 16), 1, cost))
