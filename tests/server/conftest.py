import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest


@dataclass
class RunningServer:
    url: str
    process: subprocess.Popen[str]

    def post(self, **body: object) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/images/generations", json=body, timeout=60)


@contextmanager
def run_server(model_dir: Path, cache_dir: Path, *options: str, verbose: bool = False) -> Iterator[RunningServer]:
    """`tetriserve serve` as a user starts it, on a free port; whoever wants it verbose must read its stderr."""
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
    try:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if match := re.search(r"at (http://\S+)", line):
                yield RunningServer(match[1], process)
                break
        else:
            raise AssertionError(f"the server did not start: {said}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        if process.stderr is not None:
            process.stderr.close()


@pytest.fixture(scope="session")
def server(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    sizes = ("--sizes", "64x64,128x128")
    with run_server(tiny_model_dir, tmp_path_factory.mktemp("cache"), *sizes) as running:
        yield running
