"""A real PostgreSQL server for tests: a new cluster in a temporary directory, reached through a socket."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

FAST = "-c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=20 -c jit=off"
"""What is tested here is not what happens when the database's machine loses power."""


def find_programs() -> Path:
    """Where initdb and pg_ctl are. Skips where they can't be had; whoever is root has them by `scripts/setup dev`."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if places and (places[-1] / "initdb").exists():
        return places[-1]
    if os.getuid() == 0:
        pytest.fail("there is no PostgreSQL: scripts/setup dev installs it (.venv/packages.log says what went wrong)")
    pytest.skip("needs PostgreSQL: apt-get install postgresql")


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of an empty database."""
    programs = find_programs()
    with tempfile.TemporaryDirectory(prefix="pg") as name:  # short: a socket's path has at most 107 bytes
        place = Path(name)
        run = _as_somebody_else(place) if os.getuid() == 0 else _run
        data, log = place / "data", place / "log"
        run([str(programs / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"])
        options = f"-k {place} -c listen_addresses='' {FAST}"
        run([str(programs / "pg_ctl"), "-D", str(data), "-l", str(log), "-o", options, "-w", "-t", "60", "start"])
        try:
            yield f"postgresql://tester@/postgres?host={place}"
        finally:
            run([str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"])


def _run(command: Sequence[str], **options: int) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr


def _as_somebody_else(place: Path):  # type: ignore[no-untyped-def] # noqa: ANN202
    """PostgreSQL refuses to run as root."""
    user = pwd.getpwnam("nobody")
    os.chown(place, user.pw_uid, user.pw_gid)
    return lambda command: _run(command, user=user.pw_uid, group=user.pw_gid)
