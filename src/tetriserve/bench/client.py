"""An open-loop client: every request is sent at its own time, whatever became of the ones before it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx

from tetriserve.bench.reply import UNFINISHED, Reply, read_reply
from tetriserve.bench.target import Target
from tetriserve.core.errors import EngineError
from tetriserve.workload.trace import TraceEntry

IMAGES_PATH = "/v1/images/generations"

OnReply = Callable[[Reply], None]


async def send_all(target: Target, trace: Sequence[TraceEntry], on_reply: OnReply = lambda reply: None) -> list[Reply]:
    """Send every entry at its time; entry i gets the seed i. Returns the replies in the order of `trace`.

    When cancelled, requests that are past their deadlines are still told to `on_reply`, as unfinished.
    """
    async with target.client() as client, asyncio.TaskGroup() as group:
        start_s = time.monotonic()
        sending = [
            group.create_task(_send(client, target, entry, seed, start_s + entry.arrival_s, on_reply))
            for seed, entry in enumerate(trace)
        ]
    return [task.result() for task in sending]


async def warm_up(target: Target, trace: Sequence[TraceEntry], repetitions: int, on_reply: OnReply) -> None:
    """Send a request of every size of the trace, one after another, so many times. Raises EngineError if one fails."""
    firsts = {entry.size: entry for entry in reversed(trace)}
    target = replace(target, send_slo=False)  # whoever is cold may be late
    async with target.client() as client:
        for seed, entry in enumerate(list(firsts.values()) * repetitions):
            reply = await _send(client, target, entry, seed, time.monotonic(), on_reply)
            if not reply.ok:
                raise EngineError(f"{target.base_url}: warm-up at {entry.size} failed with {reply.code}: {reply.error}")


async def _send(
    client: httpx.AsyncClient, target: Target, entry: TraceEntry, seed: int, intended_s: float, on_reply: OnReply
) -> Reply:
    lag_s = 0.0
    try:
        await asyncio.sleep(intended_s - time.monotonic())
        lag_s = time.monotonic() - intended_s
        async with asyncio.timeout(target.timeout_s - lag_s):
            response = await client.post(IMAGES_PATH, json=_body(target, entry, seed))
        times_s = time.monotonic() - intended_s, lag_s
        reply = read_reply(entry, times_s, response.status_code, response.content, target.keep_images)
    except (TimeoutError, httpx.TimeoutException):
        reply = Reply(entry, time.monotonic() - intended_s, lag_s, "timeout", f"no answer in {target.timeout_s:g} s")
    except httpx.HTTPError as error:
        said = f"{type(error).__name__}: {error}"
        reply = Reply(entry, time.monotonic() - intended_s, lag_s, "connection", said)
    except asyncio.CancelledError:
        waited_s = time.monotonic() - intended_s
        if waited_s > entry.slo_s:
            on_reply(Reply(entry, waited_s, lag_s, UNFINISHED, "the run was stopped"))
        raise
    on_reply(reply)
    return reply


def _body(target: Target, entry: TraceEntry, seed: int) -> dict[str, Any]:
    """What the benchmarks of other image servers send, and our deadline."""
    body: dict[str, Any] = {
        "prompt": entry.prompt,
        "n": 1,
        "size": str(entry.size),
        "response_format": "b64_json",
        "seed": seed,
        "num_inference_steps": entry.num_inference_steps,
    }
    if target.model is not None:
        body["model"] = target.model
    if target.send_slo:
        body["slo_ms"] = entry.slo_s * 1e3
    return body | dict(target.extra)
