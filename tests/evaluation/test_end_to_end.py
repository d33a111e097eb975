"""A small study on two CPU workers: served, simulated, compared with diffusers, resumed; failures are written down."""

from pathlib import Path

import pytest

from tetriserve.core.size import Size
from tetriserve.evaluation.budget import Budget
from tetriserve.evaluation.machine import machine_name
from tetriserve.evaluation.results import DONE, FAILED, Results
from tetriserve.evaluation.run import run_study
from tetriserve.evaluation.study import Equality, Run, Study

SIZES = (Size(64, 64), Size(128, 128))
NUM_REQUESTS, NUM_STEPS, NUM_IMAGES = 5, 3, 3


@pytest.fixture(scope="module")
def study(tiny_model_dir: Path) -> Study:
    """A policy that needs more devices goes first: what comes after must not suffer."""
    model = str(tiny_model_dir)
    return Study(
        name="tiny",
        devices="cpu:2",
        sizes=SIZES,
        num_steps=NUM_STEPS,
        deadlines="twice the fastest",
        scales=(1.0, 1.5),
        runs=(Run(model, ("fixed-sp4", "rssp"), ("60%",), ("uniform",)),),
        num_requests=NUM_REQUESTS,
        start_s=60.0,
        equality=Equality(
            model, SIZES, num_images=NUM_IMAGES, num_steps=NUM_STEPS, part=3, dtypes=("auto",), policy="rssp"
        ),
    )


@pytest.fixture(scope="module")
def root(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the whole study."""
    root, said = tmp_path_factory.mktemp("results"), list[str]()
    assert run_study(study, root, Budget(), [], said.append) == 1, said
    return root


@pytest.fixture
def results(study: Study, root: Path) -> Results:
    return Results.of(root, study.name, machine_name(study.devices))


@pytest.fixture
def cell_id(results: Results) -> str:
    """Of the cell that our server has served."""
    return next(id_ for id_ in results.cell_ids() if "/rssp/" in id_)


def test_a_cell_holds_what_was_served_and_what_was_foreseen(results: Results, cell_id: str) -> None:
    found = results.read(cell_id)
    assert found is not None
    assert found["status"] == DONE
    assert len(found["requests"]) == len(found["simulated"]["latency_s"]) == NUM_REQUESTS
    for request in found["requests"]:
        assert request["error"] is None
        assert request["degrees"] == [1] * NUM_STEPS or request["degrees"] == [2] * NUM_STEPS
        assert 0 < request["engine_latency_s"] <= request["latency_s"]
    steps = dict.fromkeys(found["simulated"]["latency_s"], 0)
    for chunk in found["chunks"]:
        assert chunk["started_s"] >= 0
        steps[chunk["request_ids"][0]] += chunk["num_steps"]
    assert set(steps.values()) == {NUM_STEPS}, "the board has shown every step of every request"
    assert found["run"]["decision_ms"]["count"] >= 1
    assert found["run"]["decision_ms"]["p50"] > 0
    assert found["machine"] == machine_name("cpu:2")


def test_served_images_are_those_of_diffusers(results: Results) -> None:
    found = results.read("equality/auto/part0")
    assert found is not None
    assert len(found["images"]) == NUM_IMAGES
    for image in found["images"]:
        assert image["served"]["max"] <= 1, "rounding alone"
        assert image["batch"]["max"] <= 1
        assert image["attention"]["max"] <= 1


def test_a_server_that_does_not_start_is_written_down_with_what_it_said(results: Results) -> None:
    (failed,) = (found for id_ in results.cell_ids() if (found := results.read(id_)) and found["status"] == FAILED)
    assert "/fixed-sp4/" in failed["id"]
    assert "fixed-sp4 needs 4 devices" in failed["error"]
    assert failed["attempts"] == 1


def test_a_second_call_does_only_what_is_missing(study: Study, root: Path, results: Results, cell_id: str) -> None:
    before, said = results.read(cell_id), list[str]()
    assert run_study(study, root, Budget(), [], said.append) == 1
    assert results.read(cell_id) == before
    assert any("fixed-sp4" in text for text in said)
    assert not any("rssp" in text for text in said)


def test_nothing_is_begun_that_would_not_end_in_time(study: Study, tmp_path: Path) -> None:
    said = list[str]()
    assert run_study(study, tmp_path, Budget(minutes=0.5), ["*/rssp/*"], said.append) == 1
    assert "not enough time" in said[0]
    assert list(Results.all(tmp_path, study.name)) == []
