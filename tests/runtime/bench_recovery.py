"""How long does nothing get done when a worker dies?

Floor: the death is read from a pipe at once; a survivor then encodes a prompt again and takes a chunk of steps. Goal:
99 of 100 times at most 3 s on a CPU with the embedded model and one survivor. Contract: a line for every kill, the last
line is JSON, seconds.

    python tests/runtime/bench_recovery.py [kills] [devices] [model]
"""

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import time

from tetriserve.core.errors import RequestFailedError
from tetriserve.core.events import ChunkDone, Event
from tetriserve.metrics.attainment import quantile
from tetriserve.models.source import find_model
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR, ServingConfig
from tetriserve.runtime.launch import loaded_model
from tetriserve.runtime.service import Service

NUM_CLIENTS = 4
WARM_UP_S = 5.0


async def client(service: Service, name: int, count: dict[str, int]) -> None:
    """One image after another, all of the smallest size."""
    for number in itertools.count():
        params = service.with_slo(service.menu.params("a red apple", size=str(service.menu.sizes[0]), seed=number))
        (request,) = params.requests(f"{name}-{number}", service.runtime.now_s())
        try:
            await service.runtime.generate(request)
            count["images"] += 1
        except RequestFailedError:
            count["failed"] += 1


async def main(num_kills: int, devices: str, model_name: str) -> None:
    config = ServingConfig(model_dir=find_model(model_name), devices=devices)
    source, count = random.Random(1), {"images": 0, "failed": 0}
    last_done_s, gaps_s, back_s = 0.0, [], []

    def listen(event: Event) -> None:
        nonlocal last_done_s
        handle(event)
        if isinstance(event, ChunkDone):
            last_done_s = time.monotonic()

    async with loaded_model(config, lambda done, total, what: None) as model:
        service = model.service(config)
        handle, scheduler = service.runtime.handle, service.runtime.scheduler
        model.mailbox.listener = listen
        clients = [asyncio.create_task(client(service, name, count)) for name in range(NUM_CLIENTS)]
        await asyncio.sleep(WARM_UP_S)
        for _ in range(num_kills):
            await asyncio.sleep(0.5 + source.random())
            killed_s = time.monotonic()
            os.kill(model.executor.worker_pids[source.randrange(2)], signal.SIGKILL)
            while not scheduler.lost_devices:
                await asyncio.sleep(0.001)
            lost_s = time.monotonic()
            while last_done_s <= lost_s:
                await asyncio.sleep(0.001)
            gaps_s.append(last_done_s - killed_s)
            while scheduler.lost_devices:
                await asyncio.sleep(0.01)
            back_s.append(time.monotonic() - killed_s)
            print(f"no progress for {gaps_s[-1]:.3f} s, all workers back after {back_s[-1]:.1f} s", flush=True)  # noqa: T201
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
    ascending = sorted(gaps_s)
    found = {f"p{share}_s": round(quantile(ascending, share / 100), 3) for share in (50, 90, 99)}
    found |= {"back_s": round(max(back_s), 1), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({"kills": num_kills, **found, **count}))  # noqa: T201


if __name__ == "__main__":
    num_kills, devices, model_name = [*sys.argv[1:], *("30", "cpu:2", str(EMBEDDED_MODEL_DIR))[len(sys.argv) - 1 :]]
    asyncio.run(main(int(num_kills), devices, model_name))
