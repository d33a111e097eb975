"""What those who look on are told, and what they are not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from server.sleeping import sleeping_server
from tetriserve.server import board
from tetriserve.server.config import ServerConfig

KEYS = {"ann": "a-key-of-sixteen-or-more", "bob": "another-key-of-sixteen"}
BODY = {"prompt": "a secret apple", "size": "256x256", "num_inference_steps": 4}
GENERATIONS = "/v1/images/generations"


async def views(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


async def test_the_board_shows_who_is_where_and_neither_prompts_nor_callers() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        made = (await client.post(GENERATIONS, json=BODY | {"slo_ms": 5000})).json()["tetriserve"]
        response = await client.get("/v1/board")
    view = response.json()
    assert (view["type"], view["num_devices"], view["policy"], view["failure"]) == ("snapshot", 2, "default", None)
    (one,) = view["requests"]
    assert (one["request_id"], one["state"], one["num_steps_done"]) == (made["request_id"], "met", 4)
    assert one["deadline_s"] - one["arrival_s"] == pytest.approx(5.0, abs=1e-3)
    steps = [chunk for chunk in view["chunks"] if chunk["stage"] == "denoise"]
    degrees = [len(chunk["devices"]) for chunk in steps for _ in range(chunk["num_steps"])]
    assert degrees == made["degrees"]
    assert "secret" not in response.text
    assert "anybody" not in response.text
    assert response.headers["cache-control"] == "no-store"


async def test_a_stream_begins_with_everything_and_goes_on_with_changes() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        await client.post(GENERATIONS, json=BODY)
        async with client.stream("GET", "/v1/board/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            told = views(response)
            first = await anext(told)
            assert (first["type"], [one["state"] for one in first["requests"]]) == ("snapshot", ["met"])
            task = asyncio.create_task(client.post(GENERATIONS, json=BODY | {"num_inference_steps": 40}))
            seen: dict[str, str] = {}
            planned = False
            async for view in told:
                assert view["type"] == "delta"
                planned |= any(chunk["state"] == "planned" for chunk in view["chunks"])
                seen.update((one["request_id"], one["state"]) for one in view["requests"])
                if set(seen.values()) & {"met", "late"}:
                    break
            assert planned
            assert first["requests"][0]["request_id"] not in seen
            await task


async def test_who_looks_at_an_idle_server_is_told_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "QUIET_S", 0.1)
    async with (
        sleeping_server() as server,
        httpx.AsyncClient(base_url=server.url) as client,
        client.stream("GET", "/v1/board/events") as response,
    ):
        told = views(response)
        first, second = await anext(told), await anext(told)
    assert second["now_s"] > first["now_s"]
    assert second["requests"] == second["chunks"] == []


async def test_a_server_that_stops_does_not_wait_for_those_who_look_on() -> None:
    async with httpx.AsyncClient() as client:
        async with sleeping_server() as server:
            request = client.build_request("GET", f"{server.url}/v1/board/events")
            told = views(await client.send(request, stream=True))
            await anext(told)
            rest = asyncio.create_task(_all(told))
            await asyncio.sleep(0.01)
            stopping_s = time.monotonic()
        assert time.monotonic() - stopping_s < 2.0
        assert await rest == []


async def _all(told: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [view async for view in told]


async def test_a_server_that_has_failed_says_so_and_ends_the_stream() -> None:
    async with (
        sleeping_server() as server,
        httpx.AsyncClient(base_url=server.url) as client,
        client.stream("GET", "/v1/board/events") as response,
    ):
        told = views(response)
        await anext(told)
        server.service.runtime.fail("the workers are gone")
        assert [view["failure"] async for view in told] == ["the workers are gone"]


@pytest.mark.parametrize("path", ["/v1/board", "/v1/board/events", "/debug/trace"])
async def test_looking_on_wants_a_key_where_calling_does(path: str) -> None:
    async with (
        sleeping_server(ServerConfig(api_keys=KEYS)) as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        assert (await client.get(path)).status_code == 401
        async with client.stream("GET", path, headers={"authorization": f"Bearer {KEYS['bob']}"}) as response:
            assert response.status_code == 200


async def test_only_so_many_look_on_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MAX_WATCHERS", 1)
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        async with client.stream("GET", "/v1/board/events") as response:
            await anext(views(response))
            refused = await client.get("/v1/board/events")
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "board_full")
        for _ in range(100):
            async with client.stream("GET", "/v1/board/events") as response:
                if response.status_code == 200:
                    return
            await asyncio.sleep(0.01)
        pytest.fail("who has gone away still counts")


async def test_the_trace_is_a_file_of_trace_events() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        await client.post(GENERATIONS, json=BODY)
        response = await client.get("/debug/trace")
    assert "tetriserve-trace.json" in response.headers["content-disposition"]
    names = {event["name"] for event in response.json()["traceEvents"]}
    assert {"queue", "encode on 1", "decode on 1"} <= names
    assert "secret" not in response.text


async def test_a_span_that_nobody_keeps_is_refused() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        for seconds in ("0", "301", "nan", "x"):
            assert (await client.get("/v1/board", params={"seconds": seconds})).status_code == 400
