"""More than can be carried: what is held is bounded, and who is refused is told when to come back."""

import asyncio

import httpx
from fastapi import FastAPI, Request

from server.sleeping import sleeping_server
from tetriserve.server.body_limit import BodyLimit
from tetriserve.server.config import ServerConfig
from tetriserve.server.listen import base_url, bind, serving_in_background

PATH = "/v1/images/generations"
BODY = {"prompt": "x", "size": "256x256", "num_inference_steps": 10}
"""0.2 s."""


async def test_a_flood_is_refused_or_served_and_leaves_nothing_behind() -> None:
    config = ServerConfig(admission="reject", max_queue=10)
    async with sleeping_server(config) as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        held = []

        async def call(slo_ms: float) -> httpx.Response:
            response = await client.post(PATH, json=BODY | {"slo_ms": slo_ms})
            held.append(server.service.runtime.num_in_flight)
            return response

        answers = await asyncio.gather(*(call(slo_ms) for slo_ms in (60_000, 1) for _ in range(40)))
        await asyncio.wait_for(server.idle(), 10)
        after = await call(60_000)
    codes = ["served" if one.status_code == 200 else one.json()["error"]["code"] for one in answers]
    assert set(codes[:40]) <= {"served", "queue_full"}
    assert set(codes[40:]) <= {"deadline_unmeetable", "queue_full"}
    assert codes.count("served") >= 10
    assert max(held) <= 10
    for answer in answers:
        assert answer.status_code == 200 or (answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1)
    assert after.status_code == 200


async def test_bodies_of_open_requests_are_bounded_in_bytes_and_in_time() -> None:
    app = FastAPI()
    app.add_middleware(BodyLimit, max_open_bytes=1000, body_s=1.0)

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    with bind("127.0.0.1", 0) as listener:
        async with serving_in_background(app, listener):
            host, port = listener.getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\nhalf")
            async with httpx.AsyncClient(base_url=base_url(listener)) as client:
                while (full := await client.post("/", content=b"x" * 200)).status_code == 200:
                    await asyncio.sleep(0.01)
                fits = await client.post("/", content=b"x" * 50)
                late = await reader.read(4096)
                again = await client.post("/", content=b"x" * 200)
            writer.close()
    assert (full.status_code, full.json()["error"]["code"], full.headers["retry-after"]) == (429, "too_many_bytes", "1")
    assert fits.status_code == 200
    assert b"408" in late.partition(b"\r\n")[0]
    assert b"body_too_slow" in late
    assert again.status_code == 200
