"""A disk without room: new jobs are refused, old ones end when there is room again, and nothing is broken."""

import asyncio
import base64
import os
import resource
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.program import JOBS, PATH, Program, program
from server.sleeping import sleeping_server
from tetriserve.server.config import ServerConfig
from tetriserve.server.disk_archive import open_archive

JOB = {"prompt": "x", "size": "256x256", "num_inference_steps": 1, "background": True}
LARGE = JOB | {"size": "1024x1024"}
"""Its file may take 3 MB."""
UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.getuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


async def test_a_job_is_refused_whose_result_might_not_fit(small_disk: Path) -> None:
    async with (
        sleeping_server(ServerConfig(state_dir=small_disk)) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        large = await client.post(PATH, json=LARGE)
        small = await client.post(PATH, json=JOB)
        while (await client.get(f"{JOBS}/{small.json()['id']}")).json()["status"] != "completed":
            await asyncio.sleep(0.01)  # its result takes room too
        (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
        full = await client.post(PATH, json=JOB)
        direct = await client.post(PATH, json=LARGE | {"background": False})
        (small_disk / "filler").unlink()
        again = await client.post(PATH, json=JOB)
    for refused in (large, full):
        error = refused.json()["error"]
        assert (refused.status_code, error["code"], error["type"]) == (507, "storage_full", "server_error")
        assert "bytes left" in error["message"]
        assert "retry-after" in refused.headers
    assert (small.status_code, direct.status_code, again.status_code) == (202, 200, 202)


def limit_files(server: Program, num_bytes: int) -> None:
    """Writes beyond so many bytes of a file fail: as with a full disk, and anybody may do it."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (num_bytes, UNLIMITED))


async def test_what_can_not_be_written_waits_and_is_written_when_it_can_be(tmp_path: Path) -> None:
    with program(tmp_path) as server:
        running = server.start_job(size="1024x1024", num_inference_steps=10)
        limit_files(server, 1)
        refused = server.client.post(PATH, json=JOB)
        assert refused.status_code in {503, 507}
        assert refused.json()["error"]["code"] in {"storage_full", "job_store_unavailable"}
        while server.job(running)["num_steps_done"] < 10:
            time.sleep(0.02)
        direct = server.client.post(PATH, json=LARGE | {"background": False})  # outlasts the first try to write
        assert direct.status_code == 200
        assert server.job(running)["status"] == "in_progress"
        limit_files(server, UNLIMITED)
        server.wait_for(running, "completed")
        before = server.client.get(f"{JOBS}/{running}/result").json()
        server.kill()
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()
    async with open_archive(ServerConfig(state_dir=tmp_path)) as archive:
        (record,) = await archive.load()
        files = [await archive.read(name) for name in record.files]
    assert (record.job_id, record.status) == (running, "completed")
    assert [base64.b64decode(image["b64_json"]) for image in before["data"]] == files
