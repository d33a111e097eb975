"""Does anything grow while a server works for an hour?

The real server with the embedded model, or with `--sleeping` over an engine that takes its time and no CPU. First what
it can carry, by clients that always wait for their image; then calls at `--load` times that, by Poisson, of all kinds
in turn: an answer, a stream with a partial image, a job, a file by URL, and a caller that goes away; results of jobs
and files are kept for a minute. Every `--every` seconds: memory and open files of the server and of all its processes.
Growth is the mean of the last fifth over that of the first, when the five minutes that the server remembers for its
board have passed. Goal: memory below 2 %, no more open files.

    PYTHONPATH=src:tests python tests/server/bench_soak.py --seconds 3600

A line every look. The last line of stdout is JSON.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
from rich.console import Console

from chaos.processes import living_of_session, memory_mb, num_files
from server.conftest import run_server
from server.program import JOBS, PATH, program
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR
from tetriserve.runtime.recorder import KEEP_S

PATIENCE_S = 120.0
GONE_AFTER_S = 0.1
POLL_S = 1.0
NUM_WAITING = 4
"""Clients that find out what the server can carry."""

console = Console(stderr=True)
Body = dict[str, Any]
Kind = Callable[[httpx.AsyncClient, Body], Awaitable[int]]


async def answer(client: httpx.AsyncClient, body: Body) -> int:
    """An image in the answer. All kinds return the last status."""
    return (await client.post(PATH, json=body)).status_code


async def stream(client: httpx.AsyncClient, body: Body) -> int:
    """Events to the end."""
    async with client.stream("POST", PATH, json=body | {"stream": True, "partial_images": 1}) as response:
        async for _ in response.aiter_bytes():
            pass
        return response.status_code


async def job(client: httpx.AsyncClient, body: Body) -> int:
    """A job and its result."""
    begun = await client.post(PATH, json=body | {"background": True})
    if begun.status_code != 202:
        return begun.status_code
    path = f"{JOBS}/{begun.json()['id']}"
    while (view := (await client.get(path)).json())["status"] in ("queued", "in_progress"):
        await asyncio.sleep(POLL_S)
    return (await client.get(view["result_url"])).status_code


async def file(client: httpx.AsyncClient, body: Body) -> int:
    """An image by its URL."""
    response = await client.post(PATH, json=body | {"response_format": "url"})
    if response.status_code != 200:
        return response.status_code
    return (await client.get(response.json()["data"][0]["url"])).status_code


async def gone(client: httpx.AsyncClient, body: Body) -> int:
    """A caller that doesn't wait."""
    with suppress(TimeoutError):
        async with asyncio.timeout(GONE_AFTER_S):
            return (await client.post(PATH, json=body)).status_code
    return 0


KINDS: tuple[Kind, ...] = (answer, stream, job, file, gone)


@dataclass(frozen=True, slots=True)
class Look:
    """What a server holds: megabytes of the process that serves HTTP and of all, and their open files."""

    at_s: float
    server_mb: float
    all_mb: float
    server_files: int
    all_files: int
    num_processes: int

    @classmethod
    def at(cls, server: int, at_s: float) -> "Look":
        """Now. The real server leads a session of its own, in which its workers are."""
        processes = living_of_session(server) or [server]
        memory, files = {pid: memory_mb(pid) for pid in processes}, {pid: num_files(pid) for pid in processes}
        return cls(
            round(at_s, 1),
            round(memory[server], 2),
            round(sum(memory.values()), 2),
            files[server],
            sum(files.values()),
            len(processes),
        )


def growth(looks: list[Look], name: str) -> float:
    """The last fifth over the first, minus one."""
    fifth = max(1, len(looks) // 5)
    values = [float(getattr(look, name)) for look in looks]
    return mean(values[-fifth:]) / mean(values[:fifth]) - 1


async def carries_per_s(client: httpx.AsyncClient, body: Body, seconds: float) -> float:
    """Images a second."""
    end_s = time.monotonic() + seconds

    async def wait() -> int:
        count = 0
        while time.monotonic() < end_s:
            count += await answer(client, body) == 200
        return count

    return sum(await asyncio.gather(*(wait() for _ in range(NUM_WAITING)))) / seconds


async def measure(url: str, server: int, args: argparse.Namespace) -> dict[str, Any]:
    """Calls until the time is over, and what was seen meanwhile."""
    body = {"prompt": "a red apple", "size": f"{args.size}x{args.size}", "num_inference_steps": args.steps}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits, trust_env=False) as client:
        per_s = await carries_per_s(client, body, args.calm)
        console.print(f"carries {per_s:.2f} images a second", highlight=False, soft_wrap=True)
        draw, begin_s, statuses = random.Random(1), time.monotonic(), Counter[str]()
        looks, calls = list[Look](), set[asyncio.Task[None]]()

        async def call(kind: Kind) -> None:
            try:
                status: int | str = await kind(client, body)
            except httpx.HTTPError as error:
                status = type(error).__name__
            statuses[f"{kind.__name__} {status}"] += 1

        async def watch() -> None:
            while True:
                look = Look.at(server, time.monotonic() - begin_s)
                looks.append(look)
                console.print(
                    f"{statuses.total()} calls, {len(calls)} under way; {look}", highlight=False, soft_wrap=True
                )
                await asyncio.sleep(args.every)

        watching = asyncio.create_task(watch())
        while time.monotonic() < begin_s + args.seconds:
            await asyncio.sleep(draw.expovariate(args.load * per_s))
            task = asyncio.create_task(call(draw.choice(KINDS)))
            calls.add(task)
            task.add_done_callback(calls.discard)
        await asyncio.gather(*calls)
        watching.cancel()
    names = ("server_mb", "all_mb", "server_files", "all_files")
    warm = [look for look in looks if look.at_s >= KEEP_S] or looks
    return {
        "carries_per_s": per_s,
        "calls": statuses.total(),
        "statuses": dict(sorted(statuses.items())),
        "growth": {name: round(growth(warm, name), 4) for name in names},
        "first": asdict(warm[0]),
        "last": asdict(warm[-1]),
    }


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between looks")
    parser.add_argument("--calm", type=float, default=20.0, help="seconds for finding out what it carries")
    parser.add_argument("--load", type=float, default=0.8, help="of what it carries")
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="pixels a side; 256 for the sleeping engine")
    parser.add_argument("--sleeping", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.sleeping:
            with program(Path(name), result_ttl_s=60, job_ttl_s=60) as sleeping:
                measured = asyncio.run(measure(str(sleeping.client.base_url), sleeping.process.pid, args))
        else:
            options = (
                "--sizes",
                f"{args.size}x{args.size}",
                "--devices",
                args.devices,
                "--result-ttl-s",
                "60",
                "--job-ttl-s",
                "60",
            )
            with run_server(EMBEDDED_MODEL_DIR, Path(name), *options) as server:
                measured = asyncio.run(measure(server.url, server.process.pid, args))
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
