"""The whole way, with real workers: whatever dies, every request gets the image that it would have got."""

import asyncio
import os
import signal
from pathlib import Path

from parity.reference import pixels
from tetriserve.core.blocks import degrees
from tetriserve.core.image import Image
from tetriserve.cost.profile import unmeasured_profile
from tetriserve.models.card import read_card
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.launch import LoadedModel, workers
from tetriserve.runtime.menu import Menu
from tetriserve.runtime.runtime import Runtime

NUM_IMAGES = 5


async def images(model: LoadedModel, config: ServingConfig, num_kills: int) -> list[Image]:
    """Some images at once; when some steps have been done, workers are killed one after the other."""
    service = model.service(config)
    runtime, steps = service.runtime, asyncio.Semaphore(0)
    params = service.menu.params("a red cat", size="256x256", seed=1, num_inference_steps=6, n=NUM_IMAGES)
    requests = params.with_slo(60.0).requests(runtime.new_request_id(), runtime.now_s())
    tasks = [asyncio.create_task(runtime.generate(one, lambda progress: steps.release())) for one in requests]
    for kill in range(num_kills):
        for _ in range(4):
            await steps.acquire()
        await until_whole(runtime)
        os.kill(model.executor.worker_pids[kill % 2], signal.SIGKILL)
    results = await asyncio.gather(*tasks)
    assert all(len(result.outcome.degrees) == 6 for result in results)
    await until_whole(runtime)
    return [result.image for result in results]


async def until_whole(runtime: Runtime) -> None:
    while runtime.scheduler.lost_devices:
        await asyncio.sleep(0.01)


async def test_images_are_the_same_though_workers_die(tiny_model_dir: Path) -> None:
    config = ServingConfig(tiny_model_dir, devices="cpu:2", policy="edf")
    menu = Menu(read_card(tiny_model_dir), config.sizes_for(read_card(tiny_model_dir)))
    async with workers(config, lambda *_: None) as (executor, mailbox):
        profile = unmeasured_profile(menu.card.name, menu.sizes, degrees(2))
        model = LoadedModel(menu, profile, executor, mailbox)
        undisturbed = await images(model, config, 0)
        disturbed = await images(model, config, 3)
    for one, other in zip(undisturbed, disturbed, strict=True):
        difference = pixels(one).astype(int) - pixels(other).astype(int)
        assert abs(difference).max() <= 1  # the degree decides on the last bit, and that on a rounding
