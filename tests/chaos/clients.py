"""Who asks for images: callers that wait, readers of streams, owners of jobs. Each has one request at a time."""

import asyncio
import base64
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from chaos.history import CANCELLED, CONNECTION, HUNG, IMAGE, LOST, Attempt, History
from chaos.images import PATH, Picture
from chaos.server import ChaosServer

JOBS = "/v1/images/jobs"
LIMIT_S = 300.0
"""Whatever takes longer hangs: starts of servers are in it, on machines with other work."""
POLL_S = 0.2
REFUSED_PAUSE_S = 0.3
NUM_CLIENTS = {"foreground": 3, "stream": 2, "job": 3}

Act = Callable[["Client", Attempt, Picture], Awaitable[None]]


@dataclass
class Client:
    """What all clients share. `stopping` lets each end what it has begun, and begin nothing."""

    server: ChaosServer
    history: History
    pictures: Sequence[Picture]
    stopping: bool = False
    http: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        # A connection for each request: an old one that a killed server has left would look like a failure of the next.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.AsyncClient(base_url=self.server.url, timeout=LIMIT_S, trust_env=False, limits=limits)

    async def run(self, kind: Literal["foreground", "stream", "job"], draw: random.Random) -> None:
        """One request after another."""
        while not self.stopping:
            await self.server.up.wait()
            attempt = Attempt(kind, time.monotonic())
            self.history.attempts.append(attempt)
            attempt.task = asyncio.create_task(self._one(attempt, draw.choice(self.pictures)))
            await asyncio.wait((attempt.task,))
            if attempt.ending != IMAGE:
                await asyncio.sleep(REFUSED_PAUSE_S)

    async def _one(self, attempt: Attempt, picture: Picture) -> None:
        try:
            await asyncio.wait_for(ACTS[attempt.kind](self, attempt, picture), LIMIT_S)
        except TimeoutError:
            attempt.end(HUNG)
        except httpx.TransportError as error:
            attempt.end(CONNECTION, repr(error))
        except asyncio.CancelledError:
            attempt.end("ended with the run")
        except Exception as error:  # noqa: BLE001  (an answer that this client does not understand is a finding)
            attempt.end("not understood", repr(error))

    def take(self, attempt: Attempt, picture: Picture, png: bytes) -> None:
        """An image has come."""
        attempt.num_images += 1
        attempt.difference = picture.difference(png)
        self.history.alive()


async def foreground(client: Client, attempt: Attempt, picture: Picture) -> None:
    """Ask and wait."""
    response = await client.http.post(PATH, json=picture.body)
    if response.status_code == 200:
        client.take(attempt, picture, image_of(response.json()))
    attempt.end(*ending_of(response))


async def stream(client: Client, attempt: Attempt, picture: Picture) -> None:
    """Read all events; the stream must end with an image or with an error, once."""
    async with client.http.stream("POST", PATH, json=picture.body | {"stream": True, "partial_images": 1}) as response:
        if response.status_code != 200:
            await response.aread()
            attempt.end(*ending_of(response))
            return
        ending, detail = "no end", ""
        async for line in response.aiter_lines():
            if not line.startswith("data: "):
                continue
            client.history.alive()
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                ending, detail = str(event["error"]["code"]), str(event["error"]["message"])
            elif event["type"] == "image_generation.completed":
                client.take(attempt, picture, base64.b64decode(event["b64_json"]))
                ending = IMAGE
    attempt.end(ending, detail)


async def job(client: Client, attempt: Attempt, picture: Picture) -> None:
    """Begin a job and look after it, whatever becomes of the server meanwhile."""
    response = await client.http.post(PATH, json=picture.body | {"background": True})
    if response.status_code != 202:
        attempt.end(*ending_of(response))
        return
    attempt.job_id, attempt.acknowledged = str(response.json()["id"]), True
    while True:
        await asyncio.sleep(POLL_S)
        with contextlib.suppress(httpx.TransportError):  # the next server knows
            if await job_is_over(client, attempt, picture):
                return


async def job_is_over(client: Client, attempt: Attempt, picture: Picture) -> bool:
    """Look once; a job that is over ends the attempt."""
    found = await client.http.get(f"{JOBS}/{attempt.job_id}")
    if found.status_code != 200:
        attempt.end(LOST, found.text)
        return True
    view = found.json()
    if view["status"] == "completed":
        result = (await client.http.get(view["result_url"])).raise_for_status()
        attempt.png = image_of(result.json())
        client.take(attempt, picture, attempt.png)
        attempt.end(IMAGE)
    elif view["status"] == "cancelled":
        attempt.end(CANCELLED)
    elif view["status"] == "failed":
        attempt.end(str(view["error"]["code"]), str(view["error"]["message"]))
    return attempt.ending is not None


def image_of(answer: Any) -> bytes:
    """The one image of an answer."""
    (data,) = answer["data"]
    return base64.b64decode(data["b64_json"])


def ending_of(response: httpx.Response) -> tuple[str, str]:
    """An image, or the error's code and message."""
    if response.status_code == 200:
        return IMAGE, ""
    error = response.json()["error"]
    return str(error["code"]), str(error["message"])


ACTS: dict[str, Act] = {"foreground": foreground, "stream": stream, "job": job}
