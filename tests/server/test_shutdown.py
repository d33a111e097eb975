import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from server.conftest import RunningServer, run_server


def processes_of_session(session: int) -> list[str]:
    listing = subprocess.run(["ps", "-s", str(session), "-o", "args="], capture_output=True, text=True, check=False)
    return [line for line in listing.stdout.splitlines() if line.strip() and "<defunct>" not in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_without_traceback_or_orphan(
    tiny_model_dir: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with run_server(tiny_model_dir, tmp_path, "--sizes", "64x64", "--devices", "cpu:1") as server:
        session = os.getsid(server.process.pid)
        assert len(processes_of_session(session)) >= 2
        server.process.send_signal(number)
        assert server.process.wait(10) == 0
        assert server.process.stderr is not None
        rest = server.process.stderr.read()
    deadline_s = time.monotonic() + 5
    while processes_of_session(session) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert processes_of_session(session) == []
    assert "Traceback" not in rest
    assert "Stopped." in rest


def test_a_request_that_outlasts_the_grace_period_gets_an_answer(tiny_model_dir: Path, tmp_path: Path) -> None:
    with run_server(tiny_model_dir, tmp_path, "--sizes", "512x512", "--devices", "cpu:1") as server:
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(server.post, prompt="a cat", num_inference_steps=200)
            while httpx.get(f"{server.url}/health").json()["num_in_flight"] == 0:
                time.sleep(0.05)
            server.process.send_signal(signal.SIGINT)
            response = answer.result()
        assert server.process.wait(10) == 0
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()
    assert response.status_code == 503
    assert "shutting down" in response.json()["error"]["message"]


def test_a_port_in_use_is_said_before_anything_is_loaded(server: RunningServer) -> None:
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "tetriserve", "serve", "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert second.returncode == 2
    assert len(second.stderr.splitlines()) == 1
    assert port in second.stderr
