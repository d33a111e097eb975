"""Checkpoints and engines, each made once for a whole session."""

from parity.fixtures import checkpoint, engine, reference, shared_engines

__all__ = ["checkpoint", "engine", "reference", "shared_engines"]
