"""What the forkserver imports, once, so that its forks start in a moment. Imported in no other process.

The libraries read these variables when they are imported; one that is set already is left alone. Threads that wait
actively for each other make a step up to fifty times slower as soon as anybody else needs a core.
"""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")


@contextmanager
def _imports_alone() -> Iterator[None]:
    """Import in two thirds of the time.

    Nothing of a library is garbage. And where there is a scipy, diffusers imports all its statistics, for sigmas drawn
    from a beta distribution, which no model here has: it is told that there is none. Other libraries have theirs.
    """
    has_scipy, import_utils._scipy_available = import_utils._scipy_available, False
    try:
        yield
    finally:
        import_utils._scipy_available = has_scipy
        gc.freeze()  # what is never looked through stays shared with forks, and makes no pauses in them
        atexit.register(gc.unfreeze)  # libraries whose modules are not taken down complain of leaks
        gc.enable()


gc.disable()  # for this import, too

from diffusers.utils import import_utils  # noqa: E402  (after its variables)

with _imports_alone():
    from tetriserve.engine.worker import work

__all__ = ["work"]
