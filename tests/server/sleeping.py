"""The whole server over an engine that sleeps: everything but the arithmetic is real."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from fastapi import FastAPI

from scheduler.builders import LARGE, MEDIUM, SMALL, make_cost
from sim.loop_clock import LoopClock
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkDone, ChunkLost, News, StepDone, WorkersBack, WorkersLost
from tetriserve.core.image import Image
from tetriserve.core.partial import is_partial_due
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.cost.model import CostModel
from tetriserve.models.card import ModelCard
from tetriserve.runtime.menu import Menu
from tetriserve.runtime.runtime import Runtime
from tetriserve.runtime.service import Service
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.server.app import app_of
from tetriserve.server.config import MEMORY, ServerConfig
from tetriserve.server.context import Context
from tetriserve.server.disk_archive import open_archive
from tetriserve.server.listen import base_url, bind, serving_in_background
from tetriserve.sim.executor import Faults, SimulatedExecutor

CARD = ModelCard("sleeper", "FluxPipeline", 32, "embedded", 3.5, 20, (SMALL, MEDIUM, LARGE))


class SleepingExecutor(SimulatedExecutor):
    """Takes the time that the cost model says, and has an image of one colour in the end. Keeps count."""

    failed: Exception | None = None

    def __init__(self, cost: CostModel, num_devices: int, failing_ids: Collection[str]) -> None:
        super().__init__(cost, num_devices, LoopClock(), self._arrived, Faults(failing_ids=failing_ids))
        self.listener: Callable[[News], None] = lambda event: None
        self.cancelled: list[str] = []
        self.released: list[str] = []
        self.num_lost = 0
        self._chunks: dict[int, tuple[Chunk, tuple[Request, ...]]] = {}
        self._sizes: dict[str, Size] = {}
        self._previews: dict[str, Image] = {}

    def submit(self, chunks: "list[tuple[Chunk, tuple[Request, ...]]]") -> None:  # type: ignore[override]
        for chunk, requests in chunks:
            self._chunks[chunk.chunk_id] = chunk, requests
            self._sizes.update((request.request_id, request.size) for request in requests)
        super().submit(chunks)

    def slow_down(self, times: float) -> None:
        """Chunks that start from now on take so many times as long."""
        self._faults = replace(self._faults, slow=dict.fromkeys(range(self.num_devices), times))

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        super().cancel(request_id)

    def release(self, request_id: str) -> None:
        self.released.append(request_id)
        self._sizes.pop(request_id, None)
        self._previews.pop(request_id, None)
        super().release(request_id)

    def take_image(self, request_id: str) -> Image:
        size = self._sizes[request_id]
        return Image(size.width, size.height, b"\x20\x90\xd0" * (size.width * size.height))

    def take_preview(self, request_id: str) -> Image | None:
        return self._previews.pop(request_id, None)

    def _arrived(self, event: News) -> None:
        if isinstance(event, StepDone | WorkersLost | WorkersBack):
            self.listener(event)
            return
        self.num_lost += isinstance(event, ChunkLost)
        chunk, requests = self._chunks.pop(event.chunk_id)  # type: ignore[union-attr]
        if isinstance(event, ChunkDone) and chunk.stage is Stage.DENOISE:
            for request, first in zip(requests, chunk.first_steps, strict=True):
                if is_partial_due(request, first, chunk.num_steps):
                    small = request.size.width // 8, request.size.height // 8
                    self._previews[request.request_id] = Image(*small, b"\x40\x40\x40" * (small[0] * small[1]))
        self.listener(event)


@dataclass
class Sleeper:
    """A running server and what is behind it."""

    url: str
    app: FastAPI
    service: Service
    executor: SleepingExecutor

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
        while self.service.runtime.num_in_flight:
            await asyncio.sleep(0.005)


def make_service(
    num_devices: int = 2,
    policy: str = "default",
    failing_ids: Collection[str] = (),
    cost: CostModel | None = None,
) -> tuple[Service, SleepingExecutor]:
    cost = cost or make_cost(num_devices, 0.005, 0.005)
    executor = SleepingExecutor(cost, num_devices, failing_ids)
    runtime = Runtime(Scheduler(make_policy(policy, cost, num_devices), cost, num_devices), executor)
    executor.listener = runtime.handle
    return Service(runtime, Menu(CARD, CARD.sizes), cost, policy, PAPER_SLO_S), executor


def fast_cost(num_devices: int, speed: float) -> CostModel:
    """A machine that is `speed` times as fast as the builders' one."""
    profile = make_cost(num_devices).profile
    entries = tuple(replace(entry, step_s=entry.step_s / speed) for entry in profile.entries)
    return CostModel(replace(profile, entries=entries), num_devices)


@asynccontextmanager
async def sleeping_server(config: ServerConfig | None = None, **options: object) -> AsyncIterator[Sleeper]:
    """A server on a free port, in this event loop. Its jobs outlive it where a state directory is set."""
    service, executor = make_service(**options)  # type: ignore[arg-type]
    config = config or ServerConfig()
    config = config if config.state_dir else replace(config, job_store=MEMORY)
    async with open_archive(config) as archive:
        context = Context.of(service, config, archive)
        app = app_of(context)
        with bind("127.0.0.1", 0) as listener:
            async with context.jobs.running(), serving_in_background(app, listener):
                yield Sleeper(base_url(listener), app, service, executor)
