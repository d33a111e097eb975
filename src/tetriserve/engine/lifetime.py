"""A worker's life ends with that of the process that has started it."""

import fcntl
import multiprocessing
import os
import signal
import sys


def die_with_parent() -> None:
    """Have the kernel do it: a worker that is stopped, or holds Python's lock for ever, can't end itself. Linux only.

    Nothing is ever sent through the pipe that tells of the parent's death, so that its one event is its end. A signal
    of the parent's own (PR_SET_PDEATHSIG) would not do: forked workers are children of the fork server, which outlives
    the parent for as long as they live.
    """
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform != "linux":
        return
    pipe = parent.sentinel
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
