"""The directory of a server's state: its own while it runs, with a name that it keeps for life."""

import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tetriserve.core.errors import ConfigurationError

LOCK_FILE = "lock"
NAME_FILE = "server"


@dataclass(frozen=True, slots=True)
class StateDir:
    """`server` tells its jobs from those of other servers that use the same database."""

    path: Path
    server: str


@contextmanager
def state_dir(path: Path) -> Iterator[StateDir]:
    """Make it if need be, readable by its owner only, and hold it. The lock ends with the process, however that ends.

    Raises ConfigurationError.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"state_dir {path}: {error}; choose another --state-dir") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            server = _server_name(path / NAME_FILE)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                message = f"state_dir {path} is used by another server; give this one its own --state-dir"
                raise ConfigurationError(message) from error
            raise ConfigurationError(f"state_dir {path}: {error}") from error
        yield StateDir(path, server)
    finally:
        os.close(lock)


def write_safely(path: Path, data: bytes) -> None:
    """Whole and on the disk when this returns, or not there at all. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Names in it are on the disk when this returns."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _server_name(path: Path) -> str:
    if not path.exists():
        write_safely(path, uuid.uuid4().hex.encode())
    return path.read_text(encoding="ascii").strip()
