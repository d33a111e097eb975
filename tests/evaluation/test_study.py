import re
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from tetriserve.cli import main
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.evaluation.deadlines import like_the_paper
from tetriserve.evaluation.results import DONE, FAILED, Results
from tetriserve.evaluation.run import groups_of
from tetriserve.evaluation.study import (
    PAPER_SIZES,
    STUDIES,
    VARIANTS,
    Study,
    cells_of,
    looks_at_deadlines,
    peer_of,
    study_named,
    variant_of,
)
from tetriserve.evaluation.workload import capacity_per_min, make_trace, rate_per_min
from tetriserve.workload.mixes import uniform


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_task_has_a_plain_file_name_of_its_own(study: Study) -> None:
    ids = [task.id for group in groups_of(study) for task in group.tasks]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9./-]+", id_) for id_ in ids), ids


def test_contenders_that_ignore_deadlines_run_once_for_all_scales() -> None:
    study = study_named("two-gpus")
    cells = [cell for cell in cells_of(study) if cell.model == "random:flux1-dev"]
    scales = {
        name: {cell.scale for cell in cells if cell.contender == name} for name in ("default", "rssp", "xdit-sp2")
    }
    assert scales == {"default": {1.0, 1.2, 1.5}, "rssp": {None}, "xdit-sp2": {None}}
    assert not looks_at_deadlines("fixed-sp2")
    assert peer_of("xdit-compiled-sp2") == ("xdit-compiled", 2)
    assert peer_of("fixed-sp2") is None


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_served_with_the_settings_that_it_is_simulated_with(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    variant = variant_of(name)
    main(["config", "--policy", variant.policy, *variant.options])
    shown = tomllib.loads(capsys.readouterr().out)
    assert shown["policy"] == variant.policy
    assert shown["default"] == asdict(variant.scheduler.default)
    assert variant != variant_of(variant.policy)


def test_patterns_choose_tasks() -> None:
    groups = groups_of(study_named("two-gpus"), ["sd3-medium/default/*", "equality/float32/part0"])
    assert [len(group.tasks) for group in groups] == [6, 1]


def test_deadlines_stand_to_two_gpus_as_the_papers_to_eight() -> None:
    """Figures worked out by hand from the two profiles: 5.0 / (28 x 0.152) x (28 x 0.3917) = 12.9, and so on."""
    cost = CostModel(load_profile("flux1-dev.h100.graph"), 2)
    assert [like_the_paper(size, 28, cost) for size in PAPER_SIZES] == pytest.approx([1.13, 1.85, 4.6, 12.9], rel=5e-3)


def test_a_load_is_a_share_of_what_the_devices_could_make_at_degree_one(cost: CostModel) -> None:
    size = Size(1024, 1024)
    capacity = capacity_per_min(uniform([size]), 10, cost, 2)
    assert capacity == pytest.approx(2 * 60 / (0.043 + 10 * 0.1197 + 0.037), rel=0.02)
    assert rate_per_min("60%", uniform([size]), 10, cost, 2) == pytest.approx(0.6 * capacity)
    assert rate_per_min("12/min", uniform([size]), 10, cost, 2) == 12
    with pytest.raises(ConfigurationError, match="60 percent"):
        rate_per_min("60 percent", uniform([size]), 10, cost, 2)


def test_contenders_get_the_same_requests_and_deadlines_stretch(plain_study: Study, cost: CostModel) -> None:
    traces = {(cell.contender, cell.scale): make_trace(plain_study, cell, cost, 2) for cell in cells_of(plain_study)}
    first, stretched = traces["default", 1.0], traces["default", 2.0]
    assert first == traces["fixed-sp1", None] == traces["xdit-sp2", None]
    assert [entry.arrival_s for entry in first] == [entry.arrival_s for entry in stretched]
    assert [2 * entry.slo_s for entry in first] == pytest.approx([entry.slo_s for entry in stretched])
    assert first[0].arrival_s == 0


def test_list_shows_every_task_and_its_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_named("rehearsal-cpu2")
    done, failed = (cell.id for cell in cells_of(study)[:2])
    for cell_id, status in ((done, DONE), (failed, FAILED)):
        Results.of(tmp_path, study.name, "a machine").write(cell_id, {"status": status})
    main(["evaluate", "list", "--study", study.name, "--results", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [["done", done], ["failed", failed], ["-", cells_of(study)[2].id]]
    assert len(lines) == sum(len(group.tasks) for group in groups_of(study))
