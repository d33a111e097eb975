"""Answers in pieces."""

import asyncio
import base64
import io
import json
import time
from typing import Any

import httpx
import openai
import PIL.Image
import pytest

from server.conftest import RunningServer
from server.sleeping import sleeping_server
from tetriserve.server import streaming

PATH = "/v1/images/generations"


async def events_of(client: httpx.AsyncClient, **body: object) -> list[tuple[str, dict[str, Any]]]:
    async with client.stream("POST", PATH, json=body | {"stream": True}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        text = (await response.aread()).decode()
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_progress_partial_images_and_the_image_come_in_order() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        events = await events_of(client, prompt="x", size="512x512", partial_images=3, output_format="webp")
        await server.idle()
    names = [name for name, _ in events]
    assert all(data["type"] == name for name, data in events)
    assert set(names) == {"tetriserve.progress", "image_generation.partial_image", "image_generation.completed"}
    assert names[-1] == "image_generation.completed"
    partial = [data for name, data in events if name == "image_generation.partial_image"]
    assert [data["partial_image_index"] for data in partial] == [0, 1, 2]
    steps = [data["num_steps_done"] for name, data in events if name == "tetriserve.progress"]
    assert steps == list(range(1, 21))
    for data in (*partial, events[-1][1]):
        picture = PIL.Image.open(io.BytesIO(base64.b64decode(data["b64_json"])))
        assert (picture.size, picture.format) == ((512, 512), "WEBP")
    assert events[-1][1]["tetriserve"]["met_deadline"]


async def test_without_partial_images_there_are_none_and_n_images_all_come() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        events = await events_of(client, prompt="x", size="256x256", n=3, num_inference_steps=4)
    completed = [data["image_index"] for name, data in events if name == "image_generation.completed"]
    assert sorted(completed) == [0, 1, 2]
    assert not any("partial" in name for name, _ in events)


async def test_a_failure_is_an_event_in_the_shape_of_an_error() -> None:
    async with sleeping_server(failing_ids={"img-1"}) as server, httpx.AsyncClient(base_url=server.url) as client:
        events = await events_of(client, prompt="x", size="256x256")
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as official:
            assert await official.images.generate(prompt="x", size="256x256", model="sleeper")  # type: ignore[call-overload]
    assert events[-1][0] == "error"
    assert events[-1][1]["error"]["code"] == "engine_error"


async def test_every_step_of_several_images_is_told_once_and_in_order() -> None:
    body = {"prompt": "x", "size": "256x256", "n": 3, "num_inference_steps": 12}
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        events = await events_of(client, **body)
    told = [(data["image_index"], data["num_steps_done"]) for name, data in events if name == "tetriserve.progress"]
    assert sorted(told) == [(index, step) for index in range(3) for step in range(1, 13)]
    assert all([step for one, step in told if one == index] == list(range(1, 13)) for index in range(3))


async def test_steps_that_are_taken_again_because_a_worker_died_are_not_told_again() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        told = []
        async with client.stream("POST", PATH, json={"prompt": "x", "size": "512x512", "stream": True}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and "num_steps_done" in line:
                    told.append(json.loads(line.removeprefix("data: "))["num_steps_done"])
                    if told[-1] == 7:
                        server.executor.lose_workers((0, 1))
    assert told == list(range(1, 21))
    assert server.executor.num_lost > 0


async def test_an_event_is_sent_when_its_step_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end of a step to the client; a file of a partial image that takes long delays none."""

    def slowly(*_: object) -> str:
        time.sleep(0.5)
        return "file"

    monkeypatch.setattr(streaming, "encode_base64", slowly)
    body = {"prompt": "x", "size": "512x512", "stream": True, "partial_images": 2, "num_inference_steps": 40}
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        done: list[float] = []
        tell = server.executor.listener
        server.executor.listener = lambda event: (done.append(time.monotonic()), tell(event))  # type: ignore[func-returns-value,assignment]
        seen, partials = [], 0
        async with client.stream("POST", PATH, json=body) as response:
            async for line in response.aiter_lines():
                if line == "event: tetriserve.progress":
                    seen.append(time.monotonic())
                partials += line == "event: image_generation.partial_image"
    assert len(seen) == len(done) - 2 == 40  # encoding and decoding take no steps
    assert partials > 0
    delays = sorted(came - ended for came, ended in zip(seen, done[1:-1], strict=True))
    assert delays[-1] < 0.4
    assert delays[len(delays) // 2] < 0.05


async def test_a_partial_image_that_cannot_be_made_ends_the_stream_with_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> str:
        raise OSError("encoder error -2")

    monkeypatch.setattr(streaming, "encode_base64", broken)
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        events = await events_of(client, prompt="x", size="512x512", partial_images=2, num_inference_steps=40)
        assert server.service.runtime.num_in_flight == 0
    assert events[-1][0] == "error"
    assert "encoder error -2" in events[-1][1]["error"]["message"]


async def test_a_client_that_goes_away_cancels_its_stream() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        body = {"prompt": "x", "size": "1024x1024", "num_inference_steps": 200, "stream": True}
        async with client.stream("POST", PATH, json=body) as response:
            async for line in response.aiter_lines():
                if line.startswith("event: "):
                    break
        await asyncio.wait_for(server.idle(), 2)
        assert server.executor.cancelled == ["img-1"]


async def test_a_client_that_goes_away_cancels_its_request() -> None:
    async with sleeping_server() as server, httpx.AsyncClient(base_url=server.url) as client:
        body = {"prompt": "x", "size": "1024x1024", "num_inference_steps": 200, "n": 2}
        task = asyncio.create_task(client.post(PATH, json=body))
        while server.service.runtime.num_in_flight < 2:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(server.idle(), 2)
        assert len(server.executor.released) == 2
        answer = await client.post(PATH, json={"prompt": "x", "size": "256x256"})
        assert answer.status_code == 200


def test_the_official_client_streams_real_partial_images(server: RunningServer) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        stream = client.images.generate(  # type: ignore[call-overload]
            prompt="a red cat",
            size="128x128",
            stream=True,
            partial_images=2,
            extra_body={"num_inference_steps": 100},  # several chunks
        )
        events = list(stream)
    partial = [event for event in events if event.type == "image_generation.partial_image"]
    assert events[-1].type == "image_generation.completed"
    assert [event.partial_image_index for event in partial] == list(range(len(partial)))
    assert 1 <= len(partial) <= 2
    for event in (*partial, events[-1]):
        picture = PIL.Image.open(io.BytesIO(base64.b64decode(event.b64_json)))
        assert picture.size == (128, 128)
        assert max(high - low for low, high in picture.getextrema()) > 0
