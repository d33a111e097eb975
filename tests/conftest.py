"""Fixtures for every test. What is expensive is made once for a whole session."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FLUX checkpoint with random weights whose images take a fraction of a second."""
    from parity.checkpoint import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("model") / "tiny", guidance="true_cfg")
