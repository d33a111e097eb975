"""Calls that go on without their caller."""

import asyncio
from typing import Any

import httpx

from server.sleeping import sleeping_server
from tetriserve.server.config import ServerConfig

PATH = "/v1/images/generations"
JOBS = "/v1/images/jobs"
KEYS = {"ann": "ann-0123456789abcdef", "bob": "bob-0123456789abcdef"}


async def start(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    response = await client.post(PATH, json={"prompt": "x", "size": "256x256", "background": True} | body)
    assert response.status_code == 202
    job: dict[str, Any] = response.json()
    assert response.headers["location"] == f"{JOBS}/{job['id']}"
    return job


async def ended(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    while True:
        job: dict[str, Any] = (await client.get(f"{JOBS}/{job_id}")).json()
        if "finished_at" in job and job["finished_at"] is not None:
            return job
        await asyncio.sleep(0.01)


async def test_a_job_is_answered_at_once_and_its_result_is_what_the_call_would_have_got() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        job = await start(client, n=2, seed=3)
        assert (job["status"], job["num_steps"]) == ("queued", 40)
        early = await client.get(f"{JOBS}/{job['id']}/result")
        assert (early.status_code, early.json()["error"]["code"]) == (409, "job_has_no_result")
        done = await ended(client, job["id"])
        assert (done["status"], done["num_steps_done"]) == ("completed", 40)
        answer = (await client.get(done["result_url"])).json()
        direct = (await client.post(PATH, json={"prompt": "x", "size": "256x256", "n": 2, "seed": 3})).json()
    assert answer["data"] == direct["data"]
    assert [one["seed"] for one in answer["tetriserve"]["images"]] == [3, 4]


async def test_a_result_by_url_is_a_file() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        done = await ended(client, (await start(client, response_format="url"))["id"])
        answer = (await client.get(done["result_url"])).json()
        assert (await client.get(answer["data"][0]["url"])).headers["content-type"] == "image/png"


async def test_delete_cancels_and_its_devices_go_to_others() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        job = await start(client, size="1024x1024", num_inference_steps=200)
        while server.service.runtime.num_in_flight == 0:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        cancelled = await client.delete(f"{JOBS}/{job['id']}")
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
        await asyncio.wait_for(server.idle(), 2)
        assert server.executor.cancelled == ["img-1"]
        assert (await client.delete(f"{JOBS}/{job['id']}")).json() == cancelled.json()
        assert (await client.get(f"{JOBS}/{job['id']}/result")).status_code == 409
        assert (await ended(client, (await start(client))["id"]))["status"] == "completed"


async def test_a_failed_job_says_why() -> None:
    async with sleeping_server(failing_ids={"img-1"}) as server, httpx.AsyncClient(base_url=server.url) as client:
        done = await ended(client, (await start(client))["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "engine_error")


async def test_jobs_belong_to_their_key() -> None:
    async with sleeping_server(ServerConfig(api_keys=KEYS)) as server:
        ann, bob = (
            httpx.AsyncClient(base_url=server.url, headers={"authorization": f"Bearer {key}"}) for key in KEYS.values()
        )
        async with ann, bob:
            job = await start(ann)
            await ended(ann, job["id"])
            assert [one["id"] for one in (await ann.get(JOBS)).json()["data"]] == [job["id"]]
            assert (await bob.get(JOBS)).json()["data"] == []
            for method in ("GET", "DELETE"):
                assert (await bob.request(method, f"{JOBS}/{job['id']}")).status_code == 404
            assert (await bob.get(f"{JOBS}/{job['id']}/result")).status_code == 404


async def test_the_oldest_finished_jobs_are_forgotten() -> None:
    async with (
        sleeping_server(ServerConfig(max_jobs=2)) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        jobs = [await start(client, num_inference_steps=1) for _ in range(4)]
        for job in jobs[2:]:
            await ended(client, job["id"])
        await asyncio.wait_for(server.idle(), 2)
        kept = [one["id"] for one in (await client.get(JOBS)).json()["data"]]
        assert len(kept) == 2
        assert (await client.get(f"{JOBS}/{jobs[0]['id']}")).status_code == 404
