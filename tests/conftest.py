"""Fixtures for every test. What is expensive is made once for a whole session."""

from pathlib import Path

import pytest

ENGINE_DIRECTORIES = {"engine", "models", "parity"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests run in one process, where several processes share the work: those that share what is expensive."""
    for item in items:
        folder, file = item.path.parent.name, item.path.stem
        group = "engine" if folder in ENGINE_DIRECTORIES else folder if folder == "server" else f"{folder}/{file}"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLUX checkpoint with random weights whose images take a fraction of a second."""
    from parity.checkpoint import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny", guidance="true_cfg")
