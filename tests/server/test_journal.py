"""The journal when its database or the engine goes away, and how old jobs leave."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from server.postgres import postgres_server
from server.program import JOBS, PATH
from server.sleeping import make_service, sleeping_server
from tetriserve.server.call import read_call
from tetriserve.server.config import ServerConfig
from tetriserve.server.disk_archive import open_archive
from tetriserve.server.job_index import JobIndex, Limits
from tetriserve.server.job_record import JobRecord, read_record, write_record
from tetriserve.server.wire.images import ImagesRequest

JOB = {"prompt": "x", "size": "256x256", "num_inference_steps": 1, "background": True}
LONG = {"prompt": "x", "size": "1024x1024", "num_inference_steps": 200, "background": True}


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[str, Engine]]:
    """The URL of a database, and somebody who may do anything to its server."""
    with postgres_server() as url:
        admin = make_url(url).set(drivername="postgresql+psycopg", database="template1")
        engine = create_engine(admin, isolation_level="AUTOCOMMIT")
        yield url, engine
        engine.dispose()


def do(engine: Engine, *statements: str) -> None:
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


def record(job_id: str = "job-1", prompt: str = "x", finished_at: int | None = None, num_bytes: int = 0) -> JobRecord:
    service, _ = make_service()
    call = read_call(service, ServerConfig(), ImagesRequest(prompt=prompt, size="512x512", seed=7), None, "ann")
    status = "queued" if finished_at is None else "completed"
    return JobRecord(job_id, "sleeper", call, int(time.time()), status, finished_at=finished_at, num_bytes=num_bytes)


@pytest.mark.parametrize("prompt", ["a red apple", "\0 \U0001f34e \\ \" '", "x" * 32_000])
def test_a_record_is_the_same_when_it_is_read_again(prompt: str) -> None:
    one = record(prompt=prompt)
    assert read_record(write_record(one)) == one


async def test_a_database_that_goes_away_refuses_jobs_and_is_found_again(
    database: tuple[str, Engine], tmp_path: Path
) -> None:
    url, admin = database
    config = ServerConfig(state_dir=tmp_path, job_store=url)
    kick = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        before = await client.post(PATH, json=JOB)
        await asyncio.wait_for(server.idle(), 10)
        do(admin, kick)
        broken = await client.post(PATH, json=JOB)
        do(admin, "ALTER DATABASE postgres ALLOW_CONNECTIONS false", kick)
        refused = await client.post(PATH, json=JOB)
        direct = await client.post(PATH, json=JOB | {"background": False})
        do(admin, "ALTER DATABASE postgres ALLOW_CONNECTIONS true")
        after = await client.post(PATH, json=JOB)
        listed = [job["id"] for job in (await client.get(JOBS)).json()["data"]]
    assert [one.status_code for one in (before, broken, direct, after)] == [202, 202, 200, 202]
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "job_store_unavailable")
    assert "retry-after" in refused.headers
    assert listed == [one.json()["id"] for one in (after, broken, before)]


async def test_an_end_is_written_once_however_often_it_is_tried(tmp_path: Path) -> None:
    made = replace(record(finished_at=int(time.time())), files=("file",))
    async with open_archive(ServerConfig(state_dir=tmp_path)) as archive:
        await archive.load()
        await archive.add(record(prompt="\0"), 0)
        for _ in range(2):  # whoever does not know whether a commit was done tries again
            assert await archive.end(made, {"file": b"made"})
        assert not await archive.end(replace(made, status="cancelled", files=("other",)), {"other": b"late"})
        assert await archive.read("file") == b"made"
        assert await archive.read("other") is None
        assert [one.status for one in await archive.load()] == ["completed"]
        await archive.remove([made])
        assert await archive.read("file") is None
        assert await archive.load() == []


async def test_jobs_are_left_to_the_next_server_when_the_engine_is_down(tmp_path: Path) -> None:
    config = ServerConfig(state_dir=tmp_path)
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        job = (await client.post(PATH, json=LONG)).json()
        while server.service.runtime.num_in_flight == 0:
            await asyncio.sleep(0.005)
        server.service.runtime.fail("the workers can't be started again")
        assert (await client.get(f"{JOBS}/{job['id']}")).json()["status"] == "queued"
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        while (await client.get(f"{JOBS}/{job['id']}")).json()["status"] != "in_progress":
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (Limits(10, 1000.0, 1000), []),
        (Limits(2, 1000.0, 1000), ["job-0"]),
        (Limits(10, 1000.0, 50), ["job-0", "job-1"]),
        (Limits(10, 1000.0, 5), ["job-0", "job-1"]),
        (Limits(10, 95.0, 1000), ["job-0", "job-1"]),
        (Limits(10, 1.0, 1000), ["job-0", "job-1", "job-2"]),
    ],
)
def test_whoever_ended_first_goes_first_by_number_bytes_and_age(limits: Limits, gone: list[str]) -> None:
    index = JobIndex(limits, lambda: 100.0)
    for number, age_s in ((2, 88.0), (0, 98.0), (1, 95.0)):  # in the order of their making
        index.put(record(f"job-{number}", finished_at=7, num_bytes=40), age_s)
    index.put(record("job-open"))
    assert [one.job_id for one in index.pop_expired()] == gone
    assert [one.job_id for one in index.all()] == [
        name for name in ("job-2", "job-0", "job-1", "job-open") if name not in gone
    ]
    assert index.pop_expired() == []


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0])
async def test_a_clock_that_is_set_makes_no_result_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    true_time, ids = time.time, list[str]()
    async with (
        sleeping_server(ServerConfig(state_dir=tmp_path, job_ttl_s=60.0)) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        for shift_s in (0.0, jump_s, 0.0):
            monkeypatch.setattr(time, "time", lambda shift_s=shift_s: true_time() + shift_s)
            ids.append((await client.post(PATH, json=JOB)).json()["id"])
            while (await client.get(f"{JOBS}/{ids[-1]}")).json()["status"] != "completed":
                await asyncio.sleep(0.01)
        await asyncio.wait_for(server.idle(), 10)
        assert [(await client.get(f"{JOBS}/{one}/result")).status_code for one in ids] == [200] * 3


async def test_a_result_that_has_expired_leaves_the_disk(tmp_path: Path) -> None:
    config = ServerConfig(state_dir=tmp_path, max_jobs=1)
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        ids = []
        for _ in range(2):
            ids.append((await client.post(PATH, json=JOB)).json()["id"])
            while (await client.get(f"{JOBS}/{ids[-1]}")).json()["status"] != "completed":
                await asyncio.sleep(0.01)
        while len(list((tmp_path / "results").iterdir())) > 1:
            await asyncio.sleep(0.01)
        assert [(await client.get(f"{JOBS}/{one}/result")).status_code for one in ids] == [404, 200]


def test_a_record_beyond_the_limits_is_a_value_error_like_any_that_is_broken() -> None:
    broken = write_record(record()).replace('"n":1', '"n":99')
    with pytest.raises(ValueError, match="n = 99: must be from 1 to 10"):
        read_record(broken)
