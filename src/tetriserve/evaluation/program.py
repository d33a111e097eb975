"""A server in a process of its own: started, waited for, and ended with all that it started."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tetriserve.core.errors import EngineError

TAIL_CHARS = 3000
STOP_S = 25.0
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    start_s: float


@contextlib.contextmanager
def running(
    module: str,
    arguments: Sequence[str],
    log: Path,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """`python -m MODULE ARGUMENTS --port N` until the body ends; what it says goes to `log`.

    Raises EngineError, with the end of what it said, if it ends or doesn't answer within `limit_s`.
    """
    port = free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    begin_s = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--port", str(port)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=os.environ | {"COLUMNS": "200"} | dict(environment or {}),
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url, log, begin_s + limit_s)
        yield Running(url, time.monotonic() - begin_s)
    finally:
        _stop(process)


def free_port() -> int:
    """One that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path, until_s: float) -> None:
    with httpx.Client(trust_env=False) as client:
        while True:
            if process.poll() is not None:
                raise EngineError(f"the server ended with {process.returncode} before it was ready:\n{_tail(log)}")
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{url}/health", timeout=5).status_code == httpx.codes.OK:
                    return
            if time.monotonic() > until_s:
                raise EngineError(f"the server was not ready in time; it said:\n{_tail(log)}")
            time.sleep(POLL_S)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Politely, then with its whole session: nothing may go on to hold a GPU."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-TAIL_CHARS:]
