"""TetriServe: serve diffusion transformers by their deadlines."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tetriserve.runtime.local import GeneratedImage, Pipeline

__all__ = ["GeneratedImage", "Pipeline"]


def __getattr__(name: str) -> Any:
    """Import the library when it is first used, so that the command line answers at once."""
    if name not in __all__:
        raise AttributeError(f"module 'tetriserve' has no attribute {name!r}")
    from tetriserve.runtime import local  # noqa: PLC0415

    return getattr(local, name)
