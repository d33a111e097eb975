"""What the forkserver imports, once, so that its forks start in a moment. Imported in no other process.

The libraries read how much to say when they are imported; whoever set these variables keeps their choice.
"""

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

from tetriserve.engine.worker import work

__all__ = ["work"]
