"""What was acknowledged is there after kill -9, whichever database it is written down in."""

import asyncio
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from server.postgres import postgres_server
from server.program import JOBS, PATH, program
from server.sleeping import sleeping_server
from tetriserve.core.errors import ConfigurationError
from tetriserve.server.config import ServerConfig
from tetriserve.server.disk_archive import open_archive
from tetriserve.server.job_record import JobRecord, read_record
from tetriserve.server.keys import read_keys
from tetriserve.server.starts import MAX_STARTS, SUSPECT_STARTS

LONG = {"size": "1024x1024", "num_inference_steps": 200}
"""42 s on both devices."""


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def job_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'jobs.db'}"


def journaled(job_store: str) -> dict[str, JobRecord]:
    """What is in the database now."""
    url = make_url(job_store)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url)
    with engine.connect() as connection:
        rows = [read_record(row.record) for row in connection.execute(text("SELECT record FROM tetriserve_jobs_1"))]
    engine.dispose()
    return {record.job_id: record for record in rows}


def test_after_kill_9_every_acknowledged_job_is_there(job_store: str, tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with program(state_dir, job_store=job_store, FAILING_REQUEST_ID='["img-1"]') as first:
        failed = first.start_job()
        first.wait_for(failed, "failed")
        done = [first.start_job(num_inference_steps=1, n=2), first.start_job(response_format="url")]
        for job_id in done:
            first.wait_for(job_id, "completed")
        results = [first.client.get(f"{JOBS}/{job_id}/result").json() for job_id in done]
        running = first.start_job(**LONG, slo_ms=1000)
        first.wait_for(running, "in_progress")
        cancelled, waiting = first.start_job(**LONG), first.start_job(size="1024x1024", num_inference_steps=3)
        first.client.delete(f"{JOBS}/{cancelled}")
        before = {job_id: first.job(job_id) for job_id in (failed, cancelled, *done)}
        first.kill()
    seeds = {job_id: record.call.params.seed for job_id, record in journaled(job_store).items()}
    (state_dir / "results" / "half.partial").write_bytes(b"half")
    with program(state_dir, job_store=job_store) as second:
        listed = [one["id"] for one in second.client.get(JOBS).json()["data"]]
        assert listed == [waiting, cancelled, running, *done[::-1], failed]
        assert {job_id: second.job(job_id) for job_id in before} == before
        for job_id, result in zip(done, results, strict=True):
            again = second.client.get(f"{JOBS}/{job_id}/result").json()
            assert again["tetriserve"] == result["tetriserve"]
            if "b64_json" in result["data"][0]:
                assert again["data"] == result["data"]
            else:
                assert second.client.get(httpx.URL(again["data"][0]["url"]).path).content.startswith(b"\x89PNG")
        second.wait_for(waiting, "completed")
        report = second.client.get(f"{JOBS}/{waiting}/result").json()["tetriserve"]
        assert report["seed"] == seeds[waiting]
        assert second.wait_for(running, "in_progress")["slo_s"] == 1.0
        files = {path.name for path in (state_dir / "results").iterdir()}
    assert files == {name for record in journaled(job_store).values() for name in record.files}


async def test_a_job_is_counted_as_often_as_the_server_dies_with_it_and_not_for_ends_in_order(
    job_store: str, tmp_path: Path
) -> None:
    config = ServerConfig(state_dir=tmp_path, job_store=job_store)
    with program(tmp_path, job_store=job_store, grace_s=0) as first:
        job_id = first.start_job(**LONG)
        first.wait_for(job_id, "in_progress")
        first.kill()
    assert journaled(job_store)[job_id].num_starts == 1
    with program(tmp_path, job_store=job_store, grace_s=0) as second:
        second.wait_for(job_id, "in_progress")
        assert journaled(job_store)[job_id].num_starts == 2
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(20) == 0
    assert journaled(job_store)[job_id].num_starts == 1
    async with open_archive(config) as archive:
        await archive.change([replace(journaled(job_store)[job_id], num_starts=MAX_STARTS)])
    with program(tmp_path, job_store=job_store) as third:
        given_up = third.wait_for(job_id, "failed")
        assert given_up["error"]["code"] == "server_died"
        assert "died 5 times" in given_up["error"]["message"]
    assert journaled(job_store)[job_id].is_over


async def test_jobs_that_may_have_killed_the_server_run_one_after_another_beside_all_others(tmp_path: Path) -> None:
    config = ServerConfig(state_dir=tmp_path)
    body = {"prompt": "x", "background": True, "size": "256x256", "num_inference_steps": 20}
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        ids = [(await client.post(PATH, json=body)).json()["id"] for _ in range(4)]
    async with open_archive(config) as archive:
        records = await archive.load()
        assert [record.num_starts for record in records] == [0] * 4
        begun = [replace(record, status="in_progress", num_steps_done=3) for record in records[:2]]
        await archive.change([replace(record, num_starts=SUSPECT_STARTS) for record in begun])
    seen: list[list[str]] = []
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        while not seen or set(seen[-1]) != {"completed"}:
            status = {job["id"]: job["status"] for job in (await client.get(JOBS)).json()["data"]}
            seen.append([status[job_id] for job_id in ids])
            await asyncio.sleep(0.005)
    assert any(one[0] == "in_progress" and one[1] == "queued" for one in seen)
    assert all("queued" in one[:2] or "completed" in one[:2] for one in seen)
    assert any(one[1] == "queued" and "queued" not in one[2:] for one in seen)


async def test_a_job_belongs_to_its_key_and_not_to_whoever_has_its_place(tmp_path: Path) -> None:
    one, other = "first-0123456789abcdef", "other-0123456789abcdef"
    listed = {}
    for keys in (one, f"{other},{one}"):
        config = ServerConfig(state_dir=tmp_path, api_keys=read_keys(None, {"TETRISERVE_API_KEYS": keys}))
        async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
            if keys == one:
                body = {"prompt": "x", "background": True}
                job = (await client.post(PATH, json=body, headers={"authorization": f"Bearer {one}"})).json()
                continue
            for key in (one, other):
                answer = await client.get(JOBS, headers={"authorization": f"Bearer {key}"})
                listed[key] = [found["id"] for found in answer.json()["data"]]
    assert listed == {one: [job["id"]], other: []}
    assert (tmp_path / "jobs.db").stat().st_mode & 0o077 == 0
    assert one.encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


async def test_a_state_directory_has_one_server_and_a_database_may_have_several(tmp_path: Path) -> None:
    job_store = f"sqlite:///{tmp_path / 'jobs.db'}"
    ours, theirs = (ServerConfig(state_dir=tmp_path / name, job_store=job_store) for name in ("ours", "theirs"))
    async with sleeping_server(ours) as server, httpx.AsyncClient(base_url=server.url) as client:
        job = (await client.post(PATH, json={"prompt": "x", "background": True})).json()
        with pytest.raises(ConfigurationError, match="used by another server"):
            async with open_archive(ours):
                pass
        async with open_archive(theirs) as archive:
            assert await archive.load() == []
    async with open_archive(ours) as archive:
        assert [record.job_id for record in await archive.load()] == [job["id"]]


async def test_jobs_of_another_model_wait_for_it(tmp_path: Path) -> None:
    config = ServerConfig(state_dir=tmp_path)
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        job = (await client.post(PATH, json={"prompt": "x", "background": True} | LONG)).json()
    async with open_archive(config) as archive:
        (record,) = await archive.load()
        assert await archive.end(replace(record, status="cancelled", finished_at=int(time.time())), {})
        await archive.add(replace(record, job_id="job-of-another", model="another"), 0)
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url) as client:
        listed = {one["id"]: one["status"] for one in (await client.get(JOBS)).json()["data"]}
        assert listed == {job["id"]: "cancelled", "job-of-another": "queued"}
        assert server.service.runtime.num_in_flight == 0
        assert (await client.delete(f"{JOBS}/job-of-another")).json()["status"] == "cancelled"


@pytest.mark.parametrize(
    ("job_store", "complaint"),
    [
        ("sqlite:////nowhere/jobs.db", "unable to open"),
        ("postgresql://x:secret@127.0.0.1:1/none", r"x:\*\*\*@"),
        ("postgresql://x@127.0.0.1:many/none", "no URL of a database"),
        ("mysql://somewhere/jobs", "must be memory or begin with"),
    ],
)
async def test_a_job_store_that_cannot_be_used_is_said_at_once(tmp_path: Path, job_store: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        async with open_archive(ServerConfig(state_dir=tmp_path, job_store=job_store)):
            pass
    assert "secret" not in str(caught.value)
