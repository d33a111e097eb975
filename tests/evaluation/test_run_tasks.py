"""One server, several tasks: one that fails or doesn't fit stays alone with that."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.foreign import Foreign, foreign_server
from tetriserve.bench.target import Target
from tetriserve.core.errors import EngineError
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.budget import Budget
from tetriserve.evaluation.program import Running
from tetriserve.evaluation.results import DONE, FAILED, Results
from tetriserve.evaluation.run import run_tasks
from tetriserve.evaluation.servers import Wanted
from tetriserve.evaluation.study import Study
from tetriserve.evaluation.task import Group, Site


@dataclass(frozen=True)
class FakeTask:
    id: str
    error: str = ""
    expected_s: float = 1.0

    def seconds(self, site: Site, cost: CostModel) -> float:
        return self.expected_s

    async def warm_up(self, site: Site, cost: CostModel, target: Target) -> None:
        pass

    async def run(self, site: Site, cost: CostModel, target: Target, server: Running) -> dict[str, Any]:
        if self.error:
            raise EngineError(self.error)
        return {"run": {"sar": 1.0, "num_failed": 0, "mean_latency_s": None}}


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with foreign_server() as running:
        yield running


@pytest.fixture
def site(plain_study: Study, cost: CostModel, tmp_path: Path) -> Site:
    results = Results(tmp_path)
    results.keep_profile("model", cost.profile)
    return Site(plain_study, results, 2, Budget(minutes=5))


def run(site: Site, url: str, *tasks: FakeTask) -> dict[str, str | None]:
    group = Group(Wanted("model", "default"), site.study, tasks)
    run_tasks(site, group, Running(url, 1.0), {"study": "x"}, lambda text: None, set())
    return {task.id: site.results.status(task.id) for task in tasks}


def test_after_a_failure_the_rest_goes_on(site: Site, foreign: Foreign) -> None:
    statuses = run(site, foreign.url, FakeTask("a"), FakeTask("b", error="no memory left"), FakeTask("c"))
    assert statuses == {"a": DONE, "b": FAILED, "c": DONE}
    failed = site.results.read("b")
    assert failed is not None
    assert failed["error"] == "EngineError: no memory left"
    assert failed["study"] == "x"


def test_what_does_not_fit_is_left_and_what_is_shorter_still_runs(site: Site, foreign: Foreign) -> None:
    assert run(site, foreign.url, FakeTask("long", expected_s=400), FakeTask("short")) == {"long": None, "short": DONE}


def test_what_succeeds_after_a_failure_says_so(site: Site, foreign: Foreign) -> None:
    run(site, foreign.url, FakeTask("a", error="once"))
    assert run(site, foreign.url, FakeTask("a")) == {"a": DONE}
    found = site.results.read("a")
    assert found is not None
    assert (found["attempts"], found["error"]) == (2, None)


def test_without_a_server_nothing_goes_on(site: Site, foreign: Foreign) -> None:
    """What was not looked at is not called failed here: the caller knows why."""
    foreign.num_unhealthy = 10**6
    with pytest.raises(EngineError, match="is the server up"):
        run(site, foreign.url, FakeTask("a"))
    assert site.results.status("a") is None
