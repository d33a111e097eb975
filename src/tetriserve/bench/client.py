"""An open-loop client: every request is sent at its own time, whatever became of the ones before it."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

IMAGES_PATH = "/v1/images/generations"
TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request to send `at_s` seconds after the start."""

    call_id: str
    at_s: float
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `latency_s` counts from the intended start, so a late client counts against the server."""

    call: Call
    status: int
    latency_s: float
    answer: Mapping[str, Any] = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an image."""
        return self.status == httpx.codes.OK

    @property
    def report(self) -> Mapping[str, Any]:
        """The server's own account of how it served this call; empty on failure."""
        report: Mapping[str, Any] = self.answer.get("tetriserve", {})
        return report

    @property
    def error(self) -> str:
        """The server's words on a failure."""
        return str(self.answer.get("error", {}).get("message", "")) if not self.ok else ""

    def png(self) -> bytes:
        """The first image's file."""
        return base64.b64decode(self.answer["data"][0]["b64_json"])


async def send_all(
    base_url: str, calls: Sequence[Call], on_reply: Callable[[Reply], None] = lambda reply: None
) -> list[Reply]:
    """Send `calls`, each at its time, and return the replies in the order of `calls`."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=len(calls))
    async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:
        start_s = time.monotonic()

        async def send(call: Call) -> Reply:
            await asyncio.sleep(start_s + call.at_s - time.monotonic())
            reply = await _send_one(client, call, start_s)
            on_reply(reply)
            return reply

        return list(await asyncio.gather(*(send(call) for call in calls)))


async def _send_one(client: httpx.AsyncClient, call: Call, start_s: float) -> Reply:
    try:
        response = await client.post(IMAGES_PATH, json=dict(call.body))
        status, answer = response.status_code, response.json()
    except (httpx.HTTPError, ValueError) as error:
        status, answer = 0, {"error": {"message": f"{type(error).__name__}: {error}"}}
    return Reply(call, status, time.monotonic() - start_s - call.at_s, answer)
