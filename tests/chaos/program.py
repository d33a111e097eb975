"""`tetriserve`, with a wall clock that can be set, in a process that ends with the one that has started it."""

import ctypes
import os
import signal
import sys
from pathlib import Path

from chaos.clock import install_clock

CLOCK_FILE = "CHAOS_CLOCK_FILE"
PR_SET_PDEATHSIG = 1


def main() -> None:
    """The command's arguments follow."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    install_clock(Path(os.environ[CLOCK_FILE]))
    from tetriserve.cli import main as tetriserve  # everything that asks for the time asks the new clock

    sys.exit(tetriserve())


if __name__ == "__main__":
    main()
