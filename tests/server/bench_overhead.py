"""What does the server cost beside the engine?

An engine that sleeps, 128 px images of one colour (PNG of which takes 0.2 ms), an open-loop client in a process of its
own with 1,000 connections that stay open. Overhead of a request: the client's latency from the intended start, less
the time that its chunks slept. The floor is the loop's own lateness, which is printed first.

    PYTHONPATH=src:tests python tests/server/bench_overhead.py --rate 200 --connections 1000 --requests 10000

The last line of stdout is JSON: milliseconds, CPU milliseconds of the server a request, and megabytes of resident
memory after a fifth of the requests and at the end.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from chaos.processes import memory_mb
from server.sleeping import sleeping_server
from tetriserve.core.chunk import Stage
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile, StageTime, StepTime
from tetriserve.metrics.attainment import quantile
from tetriserve.server.listen import keep_pauses_short

NUM_DEVICES = 32
NUM_STEPS = 20
STEP_S = 0.0025
STAGE_S = 0.002
BODY = json.dumps({"prompt": "a red apple", "size": "128x128", "num_inference_steps": NUM_STEPS}).encode()


def cost_model() -> CostModel:
    """A machine on which nobody waits: 50 ms an image on one of 32 devices, and more of them make it no faster."""
    stages = tuple(StageTime(stage, 128, 128, 1, STAGE_S) for stage in (Stage.ENCODE, Stage.DECODE))
    entries = tuple(StepTime(128, 128, degree, 1, STEP_S) for degree in (1, 2, 4, 8))
    profile = Profile("sleeper", "none", NUM_DEVICES, "float32", 8, "invented", "none", "never", entries, stages, 0.0)
    return CostModel(profile, NUM_DEVICES)


def serve(parent: Connection, *, plain_gc: bool) -> None:
    """The server's process: says where it is, and ends when told."""

    async def run() -> None:
        async with sleeping_server(num_devices=NUM_DEVICES, cost=cost_model()) as server:
            if not plain_gc:
                keep_pauses_short()
            parent.send(server.url)
            while not parent.poll():
                await asyncio.sleep(0.1)

    asyncio.run(run())


class Client:
    """Connections that stay open, and the overheads seen on them."""

    def __init__(self, host: str, port: int) -> None:
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        self._address = host, port
        self._request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.overheads_ms: list[float] = []

    async def connect(self, count: int) -> None:
        """Open connections, some at a time."""
        for _ in range(0, count, 50):
            made = await asyncio.gather(*(asyncio.open_connection(*self._address) for _ in range(50)))
            for connection in made:
                self._idle.put_nowait(connection)

    async def call(self, intended_s: float) -> None:
        """One request on the connection that has been idle longest."""
        reader, writer = await self._idle.get()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        latency_s = time.monotonic() - intended_s
        self._idle.put_nowait((reader, writer))
        self.overheads_ms.append((latency_s - json.loads(body)["tetriserve"]["gpu_seconds"]) * 1e3)

    async def close(self) -> None:
        """All connections."""
        while not self._idle.empty():
            self._idle.get_nowait()[1].close()


async def load(url: str, pid: int, options: argparse.Namespace) -> dict[str, float]:
    host, port = url.removeprefix("http://").split(":")
    client = Client(host, int(port))
    await client.connect(options.connections)
    late_ms = await _lateness_ms()
    say(f"the loop's own lateness: p50 {quantile(late_ms, 0.5):.2f} ms, p99 {quantile(late_ms, 0.99):.2f} ms")
    begin_cpu_s = cpu_s(pid)
    source, at_s, tasks, early_mb = random.Random(0), time.monotonic() + 0.1, [], 0.0
    for index in range(options.requests):
        await asyncio.sleep(max(0.0, at_s - time.monotonic()))
        tasks.append(asyncio.create_task(client.call(at_s)))
        at_s += source.expovariate(options.rate)
        if index == options.requests // 5:
            early_mb = memory_mb(pid)
    await asyncio.gather(*tasks)
    await client.close()
    found = sorted(client.overheads_ms)
    return {
        "requests": len(found),
        "rate": options.rate,
        "connections": options.connections,
        "p50_ms": round(quantile(found, 0.5), 2),
        "p99_ms": round(quantile(found, 0.99), 2),
        "max_ms": round(found[-1], 2),
        "server_cpu_ms": round((cpu_s(pid) - begin_cpu_s) * 1e3 / len(found), 2),
        "memory_after_a_fifth_mb": early_mb,
        "memory_at_the_end_mb": memory_mb(pid),
    }


async def _lateness_ms() -> list[float]:
    found = []
    for _ in range(200):
        due_s = time.monotonic() + 0.005
        await asyncio.sleep(0.005)
        found.append((time.monotonic() - due_s) * 1e3)
    return sorted(found)


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--plain-gc", action="store_true", help="collect garbage as Python does by default")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs,), kwargs={"plain_gc": options.plain_gc}, daemon=True
    )
    process.start()
    try:
        say(json.dumps(asyncio.run(load(ours.recv(), process.pid or 0, options))))
    finally:
        ours.send("end")
        process.join(10)


if __name__ == "__main__":
    main()
