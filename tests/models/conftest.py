"""Checkpoints and engines, each made once for a whole session."""

import pytest
import torch

from parity.fixtures import checkpoint, engine, reference, shared_engines

__all__ = ["checkpoint", "engine", "reference", "shared_engines"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """More would fight with workers and other tests for the cores, waiting actively for each other."""
    torch.set_num_threads(1)
