"""The end of a run: all requests come to theirs, all jobs are looked at again, and the server is stopped."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from chaos.checks import Final, Resources
from chaos.clients import JOBS, LIMIT_S, Client, image_of
from chaos.history import IMAGE, LOST
from chaos.processes import memory_mb, num_files
from chaos.server import POLL_S, ChaosServer

WATCH_S = 1.0
SHARED_MEMORY = Path("/dev/shm")
MAX_LISTED = 1000
"""More than the server keeps."""
NUM_LOOKED_AT = 100
"""Jobs whose results are asked for again; the server keeps 200."""


async def watch(server: ChaosServer, resources: Resources) -> None:
    """What servers hold, for ever. At the beginning of each: how many files are open."""
    life = 0
    resources.shared_memory_before = _shared_memory()
    while True:
        if server.up.is_set():
            resources.peak_mb = max(resources.peak_mb, memory_mb(server.pid))
            if server.num_lives != life:
                life, resources.files_before = server.num_lives, num_files(server.pid)
        await asyncio.sleep(WATCH_S)


async def finish(
    server: ChaosServer, client: Client, clients: Sequence["asyncio.Task[None]"], resources: Resources
) -> Final:
    """After the last fault."""
    client.stopping = True
    await asyncio.wait(clients, timeout=LIMIT_S)
    final = Final(resources=resources)
    final.in_flight = await _at_rest(server)
    resources.files_after = num_files(server.pid)
    resources.worker_files_after = max(map(num_files, server.workers()), default=0)
    final.jobs = (await client.http.get(JOBS, params={"limit": MAX_LISTED})).raise_for_status().json()["data"]
    final.changed_results = await _changed(client)
    final.stray_files = _stray_files(server, final)
    final.exit_status = await server.stop()
    final.orphans = tuple(server.orphans)
    resources.shared_memory_after = _shared_memory()
    return final


async def _at_rest(server: ChaosServer) -> int:
    """Waits until nothing runs and every worker is there. Returns how much is left when that takes too long."""
    deadline_s = time.monotonic() + LIMIT_S
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        while True:
            health = (await http.get("/health")).json()
            at_rest = not health["num_in_flight"] and not health["lost_devices"]
            if at_rest or time.monotonic() > deadline_s:
                return int(health["num_in_flight"]) + len(health["lost_devices"])
            await asyncio.sleep(POLL_S)


async def _changed(client: Client) -> list[str]:
    """Results of finished jobs that are not what they were when they were asked for first."""
    done = [one for one in client.history.attempts if one.acknowledged and one.ending == IMAGE]
    changed = []
    for attempt in done[-NUM_LOOKED_AT:]:
        answer = await client.http.get(f"{JOBS}/{attempt.job_id}/result")
        if answer.status_code == 404:
            attempt.ending, attempt.detail = LOST, "forgotten after it had been answered"
        elif answer.status_code != 200 or image_of(answer.json()) != attempt.png:
            changed.append(f"{attempt.job_id}: {answer.status_code}")
    return changed


def _stray_files(server: ChaosServer, final: Final) -> list[str]:
    """As many files as completed jobs: each has one image."""
    files = [path.name for path in (server.state_dir / "results").iterdir()]
    completed = sum(job["status"] == "completed" for job in final.jobs)
    return [] if len(files) == completed else [f"{len(files)} files of {completed} completed jobs"]


def _shared_memory() -> frozenset[str]:
    return frozenset(path.name for path in SHARED_MEMORY.iterdir()) if SHARED_MEMORY.is_dir() else frozenset()
