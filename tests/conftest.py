"""Fixtures for every test. What is expensive is made once for a whole session."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# transformers reads it when it is imported, and would complain of image processors that nobody uses.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

ENGINE = {"engine", "models", "parity", "contract", "test_cli.py", "test_demo.py", "test_survival.py"}
"""Directories and files whose tests start workers: all of a process come from one fork server."""


class ByFixtures(LoadScopeScheduling):
    """Sends tests that share what is expensive to one process, where several share the work; else file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        path = Path(file)
        folder = path.parent.name
        return "engine" if {folder, path.name} & ENGINE else folder if folder == "server" else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFixtures:
    """Instead of `--dist loadgroup`, whose marks this version of pytest hides from pytest-xdist."""
    return ByFixtures(config, log)


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLUX checkpoint with random weights whose images take a fraction of a second."""
    from parity.checkpoint import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny", guidance="true_cfg")


@pytest.fixture
def logging_of_pytest() -> Iterator[None]:
    """`set_up_logs` replaces the root's handlers; pytest wants its own back."""
    root, ours = logging.getLogger(), logging.getLogger("tetriserve")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
