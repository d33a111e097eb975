import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from server.conftest import RunningServer, run_server


def processes_of_session(session: int) -> list[str]:
    listing = subprocess.run(["ps", "-s", str(session), "-o", "args="], capture_output=True, text=True, check=False)
    return [line for line in listing.stdout.splitlines() if line.strip() and "<defunct>" not in line]


def assert_ends_well(server: RunningServer, session: int) -> None:
    """Status 0, a last word, no traceback, and no process left behind."""
    assert server.process.wait(10) == 0
    assert server.process.stderr is not None
    rest = server.process.stderr.read()
    deadline_s = time.monotonic() + 5
    while processes_of_session(session) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert processes_of_session(session) == []
    assert "Traceback" not in rest
    assert "Stopped." in rest


def test_sigterm_ends_an_idle_server(tiny_model_dir: Path, tmp_path: Path) -> None:
    with run_server(tiny_model_dir, tmp_path, "--sizes", "64x64", "--devices", "cpu:1") as server:
        session = os.getsid(server.process.pid)
        assert len(processes_of_session(session)) >= 2
        server.process.send_signal(signal.SIGTERM)
        assert_ends_well(server, session)


def test_ctrl_c_ends_a_busy_server_and_who_outlasts_the_grace_period_gets_an_answer(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    with run_server(tiny_model_dir, tmp_path, "--sizes", "512x512", "--devices", "cpu:1", "--grace-s", "1") as server:
        session = os.getsid(server.process.pid)
        with ThreadPoolExecutor() as pool:
            answer = pool.submit(server.post, prompt="a cat", num_inference_steps=200)
            while httpx.get(f"{server.url}/health").json()["num_in_flight"] == 0:
                time.sleep(0.05)
            server.process.send_signal(signal.SIGINT)
            response = answer.result()
        assert_ends_well(server, session)
    assert response.status_code == 503
    assert "shutting down" in response.json()["error"]["message"]


def test_a_port_in_use_is_said_before_anything_is_loaded(server: RunningServer) -> None:
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "tetriserve", "serve", "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert second.returncode == 2
    assert len(second.stderr.splitlines()) == 1
    assert port in second.stderr
