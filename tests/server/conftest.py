import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest


@dataclass
class RunningServer:
    """A server's process, which leads a session of its own, and what it says on stderr after its address."""

    url: str
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr or ()), daemon=True)
        self._reader.start()

    def post(self, **body: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/images/generations", json=body, timeout=60)

    def processes(self) -> list[int]:
        """Ids of the server's living processes, its workers' too, the oldest first."""
        command = ["ps", "-s", str(self.process.pid), "--sort", "start_time", "-o", "pid=,stat="]
        listing = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [line.split() for line in listing.stdout.splitlines()]
        return [int(pid) for pid, state in found if not state.startswith("Z")]

    def leaves_no_process(self) -> bool:
        """Whether all processes are gone within the time that tearing torch down takes on a busy machine."""
        deadline_s = time.monotonic() + 20
        while self.processes() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return not self.processes()

    def close(self) -> None:
        """Read to the end; all processes have the other end of the pipe."""
        self._reader.join(20)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def assert_ends_well(self) -> None:
        """Status 0, a last word, no traceback, and no process left behind."""
        assert self.process.wait(10) == 0
        assert self.leaves_no_process(), self.processes()
        self.close()
        rest = "".join(self.said)
        assert "Traceback" not in rest
        assert "Stopped." in rest


@contextmanager
def run_server(model_dir: Path, cache_dir: Path, *options: str, verbose: bool = False) -> Iterator[RunningServer]:
    """`tetriserve serve` as a user starts it, on a free port."""
    command = [
        sys.executable,
        "-m",
        "tetriserve",
        *["--verbose"] * verbose,
        "serve",
        "--port",
        "0",
        "--model",
        str(model_dir),
        *options,
    ]
    environment = os.environ | {
        "XDG_CACHE_HOME": str(cache_dir),
        "XDG_STATE_HOME": tempfile.mkdtemp(dir=cache_dir),  # a server of its own
        "TETRISERVE_GRACE_S": "5",
        "COLUMNS": "200",
    }
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True)
    assert process.stderr is not None
    try:
        said = ""
        while (match := re.search(r"at (http://\S+)", said)) is None:
            line = process.stderr.readline()
            assert line, f"the server did not start: {said}"
            said += line
        running = RunningServer(match[1], process)
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    running.close()


@pytest.fixture(scope="session")
def server(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    sizes = ("--sizes", "64x64,128x128")
    with run_server(tiny_model_dir, tmp_path_factory.mktemp("cache"), *sizes) as running:
        yield running
