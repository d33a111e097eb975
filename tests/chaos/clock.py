"""A wall clock that can be set: `time.time` of one process is shifted by what a file says. Monotonic time is not."""

import mmap
import struct
import time
from pathlib import Path

SHIFT = struct.Struct("d")


def set_shift(path: Path, shift_s: float) -> None:
    """Let all processes with the clock of this file be so many seconds ahead. Makes the file."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(SHIFT.pack(shift_s))


def install_clock(path: Path) -> None:
    """Replace `time.time` of this process."""
    with path.open("rb") as file:
        shift = mmap.mmap(file.fileno(), SHIFT.size, access=mmap.ACCESS_READ)
    true_time = time.time
    time.time = lambda: true_time() + SHIFT.unpack(shift)[0]
