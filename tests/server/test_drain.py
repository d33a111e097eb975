"""SIGTERM: nothing new, what runs ends, what doesn't is left to the next server; twice is at once."""

import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx

from server.program import PATH, Program, program
from tetriserve.server.config import ServerConfig
from tetriserve.server.disk_archive import open_archive

CALL = {"prompt": "x", "size": "1024x1024"}
"""0.2 s a step on both devices."""


def call_in(pool: ThreadPoolExecutor, server: Program, num_steps: int) -> "Future[httpx.Response]":
    """A call that is being served."""
    before = server.client.get("/health").json()["num_in_flight"]
    answer = pool.submit(server.client.post, PATH, json=CALL | {"num_inference_steps": num_steps})
    while server.client.get("/health").json()["num_in_flight"] == before:
        time.sleep(0.02)
    return answer


def drain(server: Program) -> None:
    """The first signal has arrived."""
    server.process.send_signal(signal.SIGTERM)
    while server.client.get("/health").json()["status"] != "draining":
        time.sleep(0.02)


async def test_a_draining_server_finishes_what_runs_and_leaves_jobs_to_the_next(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool, program(tmp_path, grace_s=60) as first:
        answer = call_in(pool, first, 10)
        waiting = first.start_job(**CALL, service_class="batch")
        drain(first)
        health = first.client.get("/health")
        refused = [first.client.post(PATH, json=CALL | {"background": later}) for later in (True, False)]
        assert answer.result().status_code == 200
        assert first.process.wait(10) == 0, "it doesn't wait for a job that has not begun"
    assert health.status_code == 503
    for response in refused:
        assert (response.status_code, response.json()["error"]["code"]) == (503, "draining")
        assert int(response.headers["retry-after"]) >= 60
    with program(tmp_path, grace_s=0.1) as second:
        second.wait_for(waiting, "in_progress")
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(10) == 0, "nor for one that takes longer than it may"
    async with open_archive(ServerConfig(state_dir=tmp_path)) as archive:
        assert [(record.job_id, record.status) for record in await archive.load()] == [(waiting, "queued")]


def test_a_second_signal_ends_it_at_once_and_whoever_waits_is_answered(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool, program(tmp_path, grace_s=3600) as server:
        answer = call_in(pool, server, 200)
        drain(server)
        server.process.send_signal(signal.SIGTERM)
        response = answer.result()
        assert server.process.wait(10) == 0
    assert response.status_code == 503
    assert "shutting down" in response.json()["error"]["message"]
