"""One suite, every executor."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from contract.harness import Harness, RealWorkers, simulated

MakeHarness = Callable[[], AbstractContextManager[Harness]]


@pytest.fixture(scope="session", params=["simulated", "real"])
def make_harness(request: pytest.FixtureRequest, tiny_model_dir: Path) -> Iterator[MakeHarness]:
    """Makes the harness of one test: four devices of the cost model, or four worker processes."""
    if request.param == "simulated":
        yield lambda: simulated(4)
    else:
        workers = RealWorkers(tiny_model_dir)
        yield workers.harness
        workers.executor.close()


@pytest.fixture
def harness(make_harness: MakeHarness) -> Iterator[Harness]:
    with make_harness() as made:
        yield made
