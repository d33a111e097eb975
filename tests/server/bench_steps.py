"""What does it cost that every step is told, and how late does a client hear of it?

One image after another: unwatched, watched (in turn first), and as a stream over HTTP. Floor: a message of some 20
bytes through a pipe, two threads and a socket; on GPUs also an event a step. Goal: no difference between watched and
unwatched, and 50 ms from the end of a step to the client. Timed are steps that end a chunk, because the workers tell
when that was; the others go the same way with less to carry. Before that, one message by itself on a CPU: what it costs
the thread that takes steps, and all threads at both ends of the pipe. Contract: the last line is JSON.

    python tests/server/bench_steps.py [images] [devices] [size] [policy]
"""

import asyncio
import json
import os
import queue
import statistics
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe

import httpx
import torch

from tetriserve.core.events import ChunkDone, News
from tetriserve.core.size import Size
from tetriserve.engine.completion import LaunchedStep, milestone
from tetriserve.engine.messages import decode_report, encode
from tetriserve.metrics.attainment import quantile
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.launch import loaded_model
from tetriserve.runtime.runtime import Progress
from tetriserve.runtime.service import Service
from tetriserve.server.app import create_app
from tetriserve.server.listen import base_url, bind, serving_in_background

WARM_UP_IMAGES = 2
NUM_MESSAGES = 2000


@dataclass
class Bench:
    """A service whose chunks' ends are noted on their way to it: an image's encoding, its steps, its decoding."""

    service: Service
    size: str
    ends: list[ChunkDone] = field(default_factory=list)

    def listen(self, news: News) -> None:
        if isinstance(news, ChunkDone):
            self.ends.append(news)
        self.service.runtime.handle(news)

    async def step_ms(self, name: str, watched: bool) -> float:
        """The time that the devices take for a step of an image."""
        params = self.service.with_slo(self.service.menu.params("a red apple", size=self.size, seed=1))
        (request,) = params.requests(name, self.service.runtime.now_s())
        told: list[Progress] = []
        self.ends.clear()
        await self.service.runtime.generate(request, told.append if watched else None)
        assert len(told) == watched * request.num_inference_steps
        return 1e3 * sum(end.finished_s - end.started_s for end in self.ends[1:-1]) / request.num_inference_steps

    async def delays_ms(self, client: httpx.AsyncClient) -> list[float]:
        """From the end of chunks at the workers to an event at the client."""
        came_s: list[float] = []
        ends_at: list[int] = []
        self.ends.clear()
        body = {"prompt": "a red apple", "size": self.size, "stream": True}
        async with client.stream("POST", "/v1/images/generations", json=body, timeout=120) as response:
            async for line in response.aiter_lines():
                if line == "event: tetriserve.progress":
                    came_s.append(time.monotonic())
                    ends_at.append(len(self.ends))
        # The event at which one more end is known than at the one before tells of that end.
        told = [i for i in range(len(came_s)) if ends_at[i] > (ends_at[i - 1] if i else 1)]
        return [1e3 * (came_s[i] - self.ends[ends_at[i] - 1].finished_s) for i in told]


def message_us() -> dict[str, float]:
    """Microseconds of one message: of the thread that takes steps, and of CPU in all."""
    worker_end, parent_end = Pipe()
    reports: queue.SimpleQueue[LaunchedStep | None] = queue.SimpleQueue()

    def tell() -> None:
        while (step := reports.get()) is not None:
            worker_end.send_bytes(encode(step.wait()))
        worker_end.close()

    def hear() -> None:
        with suppress(EOFError):
            while True:
                decode_report(parent_end.recv_bytes())

    threads = [threading.Thread(target=target) for target in (tell, hear)]
    for thread in threads:
        thread.start()
    cpu, taken_s, begin_s = torch.device("cpu"), [], time.process_time()
    for number in range(NUM_MESSAGES):
        time.sleep(0.001)
        before_s = time.perf_counter()
        reports.put(LaunchedStep(1, number, milestone(cpu)))
        taken_s.append(time.perf_counter() - before_s)
    reports.put(None)
    for thread in threads:
        thread.join()
    in_all_s = (time.process_time() - begin_s) / NUM_MESSAGES
    return {"taking_us": round(1e6 * statistics.median(taken_s), 1), "in_all_us": round(1e6 * in_all_s, 1)}


async def main(num_images: int, devices: str, size: str, policy: str) -> None:
    config = ServingConfig(devices=devices, sizes=(Size.parse(size),), policy=policy)
    async with loaded_model(config, lambda done, total, what: None) as model:
        bench = Bench(model.service(config), size)
        model.mailbox.listener = bench.listen
        plain, watched, delays = [], [], []
        with bind("127.0.0.1", 0) as listener:
            async with (
                serving_in_background(create_app(bench.service), listener),
                httpx.AsyncClient(base_url=base_url(listener)) as client,
            ):
                for number in range(WARM_UP_IMAGES + num_images):
                    order = (False, True) if number % 2 else (True, False)
                    times = {watch: await bench.step_ms(f"{number}-{watch}", watch) for watch in order}
                    late = await bench.delays_ms(client)
                    if number >= WARM_UP_IMAGES:
                        plain.append(times[False])
                        watched.append(times[True])
                        delays += late
    found = {
        **message_us(),
        "unwatched_step_ms": round(statistics.median(plain), 3),
        "watched_step_ms": round(statistics.median(watched), 3),
        "median_difference_ms": round(statistics.median(b - a for a, b in zip(plain, watched, strict=True)), 3),
        **{f"delay_p{share}_ms": round(quantile(sorted(delays), share / 100), 2) for share in (50, 99)},
        "num_delays": len(delays),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    usual = ("30", "cpu:2", "128x128", "default")
    images, *others = [*sys.argv[1:], *usual[len(sys.argv) - 1 :]]
    asyncio.run(main(int(images), *others))
