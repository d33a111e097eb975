"""Fixtures that the tests of models, engine and parity share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parity.checkpoint import write_checkpoint
from parity.harness import Engine
from parity.qwen_checkpoint import write_qwen_checkpoint
from parity.reference import Reference
from parity.sd3_checkpoint import KINDS as SD3_KINDS
from parity.sd3_checkpoint import write_sd3_checkpoint

GetCheckpoint = Callable[[str], Path]
GetEngine = Callable[[str, int], Engine]

EMBEDDED = Path(__file__).parents[2] / "src" / "tetriserve" / "embedded"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> GetCheckpoint:
    """Call it with a kind of guidance for a tiny FLUX, a kind of SD3, "qwen-image" or "embedded-model"."""
    made: dict[str, Path] = {"embedded-model": EMBEDDED}

    def get(kind: str) -> Path:
        if kind not in made:
            directory = tmp_path_factory.mktemp(kind)
            if kind in SD3_KINDS:
                made[kind] = write_sd3_checkpoint(directory, kind)
            elif kind == "qwen-image":
                made[kind] = write_qwen_checkpoint(directory)
            else:
                made[kind] = write_checkpoint(directory, guidance=kind)
        return made[kind]

    return get


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="session")
def shared_engines(checkpoint: GetCheckpoint) -> Iterator[GetEngine]:
    """Engines by (model, number of workers), started when first asked for and closed when the session ends."""
    started: dict[tuple[str, int], Engine] = {}

    def get(kind: str, num_workers: int) -> Engine:
        if (kind, num_workers) not in started:
            engine = Engine(checkpoint(kind), f"cpu:{num_workers}")
            engine.executor.start()
            started[kind, num_workers] = engine
        return started[kind, num_workers]

    yield get
    for engine in started.values():
        engine.executor.close()


@pytest.fixture
def engine(shared_engines: GetEngine) -> GetEngine:
    """A shared engine that has no events left from another test."""

    def get(kind: str, num_workers: int) -> Engine:
        found = shared_engines(kind, num_workers)
        assert found.events.empty()
        return found

    return get
