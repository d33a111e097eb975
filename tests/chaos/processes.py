"""What the kernel says of processes: children, sessions, open files, memory. Linux only, as the server is."""

from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of /proc/PID/stat, as far as it is needed."""

    pid: int
    state: str
    parent: int
    session: int
    started: int


def stat_of(pid: int) -> Stat | None:
    """None if there is no such process (any more)."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return Stat(pid, fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def all_stats() -> list[Stat]:
    """Every process."""
    return [found for path in PROC.glob("[0-9]*") if (found := stat_of(int(path.name))) is not None]


def living_of_session(session: int) -> list[int]:
    """Who of a session still runs, or is stopped."""
    return [stat.pid for stat in all_stats() if stat.session == session and stat.state not in "ZX"]


def workers_of(server: int) -> list[int]:
    """The server's workers, in order of their start.

    Those of GPUs are spawned by it; those of CPUs are its grandchildren, through the fork server.
    """
    stats = [stat for stat in all_stats() if stat.session == server and stat.state not in "ZX"]
    children = [stat for stat in stats if stat.parent == server]
    spawned = [stat for stat in children if b"spawn_main" in _command_of(stat.pid)]
    parents = {stat.pid for stat in children}
    workers = spawned or [stat for stat in stats if stat.parent in parents]
    return [stat.pid for stat in sorted(workers, key=lambda stat: (stat.started, stat.pid))]


def _command_of(pid: int) -> bytes:
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def num_files(pid: int) -> int:
    """Open file descriptors; 0 if there is no such process."""
    try:
        return len(list((PROC / str(pid) / "fd").iterdir()))
    except OSError:
        return 0


def memory_mb(pid: int) -> float:
    """Resident memory; 0 if there is no such process."""
    return _status(pid, "VmRSS")


def address_space_bytes(pid: int) -> int:
    """What RLIMIT_AS limits."""
    return int(_status(pid, "VmSize") * 1024 * 1024)


def _status(pid: int, name: str) -> float:
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)
