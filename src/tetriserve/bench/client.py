"""An open-loop client: every request is sent at its own time, whatever became of the ones before it."""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tetriserve.workload.trace import TraceEntry

IMAGES_PATH = "/v1/images/generations"
TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `latency_s` counts from the intended start, so a late client counts against the server."""

    entry: TraceEntry
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
    base_url: str, trace: Sequence[TraceEntry], on_reply: Callable[[Reply], None] = lambda reply: None
) -> list[Reply]:
    """Send every entry at its time; entry i gets the seed i. Returns the replies in the order of `trace`."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=len(trace))
    async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:
        start_s = time.monotonic()

        async def send(seed: int, entry: TraceEntry) -> Reply:
            await asyncio.sleep(start_s + entry.arrival_s - time.monotonic())
            status, answer = await _post(client, _body(entry, seed))
            reply = Reply(entry, status, time.monotonic() - start_s - entry.arrival_s, answer)
            on_reply(reply)
            return reply

        return list(await asyncio.gather(*(send(seed, entry) for seed, entry in enumerate(trace))))


def _body(entry: TraceEntry, seed: int) -> dict[str, Any]:
    return {
        "prompt": entry.prompt,
        "size": str(entry.size),
        "seed": seed,
        "num_inference_steps": entry.num_inference_steps,
        "slo_ms": entry.slo_s * 1e3,
    }


async def _post(client: httpx.AsyncClient, body: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
    try:
        response = await client.post(IMAGES_PATH, json=body)
        return response.status_code, response.json()
    except (httpx.HTTPError, ValueError) as error:
        return 0, {"error": {"message": f"{type(error).__name__}: {error}"}}
