"""The whole server as a process: killed in the middle of a job, started again, and ended while it is busy."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from server.conftest import RunningServer, run_server
from server.program import JOBS

pytestmark = pytest.mark.timeout(400)  # two starts of the whole server
JOB = {"prompt": "a red apple", "size": "64x64", "num_inference_steps": 100}


@dataclass
class Home:
    """What a server and the next have in common. `left_a_process`: the first, after kill -9."""

    model_dir: Path
    directory: Path
    job_id: str = ""
    left_a_process: bool = True

    def start(self) -> AbstractContextManager[RunningServer]:
        options = ("--sizes", "64x64,256x256", "--devices", "cpu:2", "--grace-s", "0.1")
        return run_server(self.model_dir, self.directory, *options, "--state-dir", str(self.directory / "state"))


@pytest.fixture(scope="module")
def killed(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """What a server has left that died in the middle of a job."""
    home = Home(tiny_model_dir, tmp_path_factory.mktemp("home"))
    with home.start() as server:
        home.job_id = server.post(**JOB, background=True).json()["id"]
        while httpx.get(f"{server.url}{JOBS}/{home.job_id}").json()["num_steps_done"] == 0:
            time.sleep(0.01)
        assert len(server.processes()) >= 4  # itself, the forkserver and two workers
        os.kill(server.processes()[-1], signal.SIGSTOP)  # a worker that can't end itself
        server.process.kill()
        server.process.wait()
        home.left_a_process = not server.leaves_no_process()
    return home


@pytest.fixture(scope="module")
def restarted(killed: Home) -> Iterator[RunningServer]:
    with killed.start() as server:
        yield server


def test_kill_9_leaves_no_process_not_even_a_stopped_one(killed: Home) -> None:
    assert not killed.left_a_process


def test_an_unfinished_job_makes_the_image_that_it_would_have_made(killed: Home, restarted: RunningServer) -> None:
    while (job := httpx.get(f"{restarted.url}{JOBS}/{killed.job_id}").json())["status"] != "completed":
        time.sleep(0.05)
    result = httpx.get(f"{restarted.url}{job['result_url']}").json()
    direct = restarted.post(**JOB, seed=result["tetriserve"]["seed"]).json()
    assert result["data"] == direct["data"]


def test_ctrl_c_ends_a_busy_server_and_who_outlasts_the_grace_period_gets_an_answer(restarted: RunningServer) -> None:
    """The last test of this server."""
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(restarted.post, prompt="a cat", size="256x256", num_inference_steps=200)
        while httpx.get(f"{restarted.url}/health").json()["num_in_flight"] == 0:
            time.sleep(0.05)
        restarted.process.send_signal(signal.SIGINT)
        response = answer.result()
    restarted.assert_ends_well()
    assert response.status_code == 503
    assert "shutting down" in response.json()["error"]["message"]


def test_a_port_in_use_is_said_before_anything_is_loaded(server: RunningServer) -> None:
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "tetriserve", "serve", "--port", port]
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert second.returncode == 2
    assert len(second.stderr.splitlines()) == 1
    assert port in second.stderr
