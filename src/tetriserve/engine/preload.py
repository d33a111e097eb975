"""What the forkserver imports, once, so that its forks start in a moment. Imported in no other process.

The libraries read these variables when they are imported; one that is set already is left alone. Threads that wait
actively for each other make a step up to fifty times slower as soon as anybody else needs a core.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")

from tetriserve.engine.worker import work

__all__ = ["work"]
