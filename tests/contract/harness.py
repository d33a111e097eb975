"""What a contract test needs of an executor, whichever it is."""

import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from scheduler.builders import make_cost
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkEnd, News, StepDone, WorkersBack, WorkersLost
from tetriserve.core.executor import Executor
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine.config import EngineConfig
from tetriserve.engine.executor import ProcessExecutor
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults, SimulatedExecutor

FAILING_ID = "fails"
"""A request with this id cannot go on after its first DENOISE chunk."""
WATCHED_ID = "watched"
"""And of one with this id every step is told."""


@dataclass
class Harness:
    """An executor under test. `settle` returns when nothing is in flight and no device lost; `events` has what came.

    `skew_s`: the ranks of a real block end their part of a chunk at slightly different times, and go on at once.
    """

    executor: Executor
    settle: Callable[[], None]
    lose_device: Callable[[int], None]
    size: Size
    events: list[News] = field(default_factory=list)
    next_chunk_id: int = 0
    skew_s: float = 1e-6
    seen: set[str] = field(default_factory=set)
    on_submit: Callable[[list[Chunk]], None] = lambda chunks: None

    def chunk(self, stage: Stage, ids: tuple[str, ...], devices: tuple[int, ...], steps: range = range(0)) -> Chunk:
        """The next chunk, in the global order."""
        self.next_chunk_id += 1
        first = (steps.start,) * len(ids) if stage is Stage.DENOISE else ()
        return Chunk(self.next_chunk_id - 1, stage, ids, devices, first, len(steps))

    def image(self, request_id: str, *parts: tuple[tuple[int, ...], float]) -> list[Chunk]:
        """All chunks of an image whose steps are split into parts of (devices, number of steps)."""
        chunks = [self.chunk(Stage.ENCODE, (request_id,), parts[0][0][:1])]
        at = 0.0
        for devices, num_steps in parts:
            chunk = self.chunk(Stage.DENOISE, (request_id,), devices)
            chunks.append(chunk._replace(first_steps=(at,), num_steps=num_steps))
            at += num_steps
        return [*chunks, self.chunk(Stage.DECODE, (request_id,), parts[-1][0][:1])]

    def submit(self, *chunks: Chunk) -> None:
        """Hand chunks over together; every request has four steps in all."""
        self.seen.update(id_ for chunk in chunks for id_ in chunk.request_ids)
        self.on_submit(list(chunks))
        self.executor.submit([(chunk, tuple(self._request(id_) for id_ in chunk.request_ids)) for chunk in chunks])

    def ends(self) -> dict[int, ChunkEnd]:
        """The end of each chunk. Fails if one ended twice."""
        ends = [event for event in self.events if isinstance(event, ChunkEnd)]
        assert len({end.chunk_id for end in ends}) == len(ends)
        return {end.chunk_id: end for end in ends}

    def changes(self) -> list[WorkersLost | WorkersBack]:
        """The losses and returns of devices so far."""
        return [event for event in self.events if isinstance(event, WorkersLost | WorkersBack)]

    def _request(self, request_id: str) -> Request:
        guidance_scale = 1e38 if request_id == FAILING_ID else 3.5  # with which real latents overflow
        made = Request(request_id, "a red apple", self.size, 4, guidance_scale, 1, 0.0, 60.0)
        return replace(made, is_watched=request_id == WATCHED_ID)


@contextmanager
def simulated(num_devices: int) -> Iterator[Harness]:
    """Devices of the cost model on a virtual clock."""
    clock, events = VirtualClock(), []
    faults = Faults(failing_ids=(FAILING_ID,), recovery_s=0.5)
    cost = make_cost(num_devices, 0.01, 0.02, 0.001)
    executor = SimulatedExecutor(cost, num_devices, clock, events.append, faults)
    yield Harness(executor, clock.run, lambda device: executor.lose_workers((device,)), Size(256, 256), events)


class RealWorkers:
    """Four worker processes for a whole session of tests."""

    def __init__(self, model_dir: Path) -> None:
        self._arrivals: queue.Queue[News] = queue.Queue()
        self._pending: set[int] = set()
        self._lost: set[int] = set()
        self.executor = ProcessExecutor(EngineConfig(model_dir, "cpu:4"), self._arrivals.put)
        self.executor.start()

    @contextmanager
    def harness(self) -> Iterator[Harness]:
        """The workers as one test sees them."""
        events: list[News] = []
        made = Harness(self.executor, lambda: self._settle(events), self._kill, Size(64, 64), events)
        made.skew_s = 0.1
        made.on_submit = lambda chunks: self._pending.update(chunk.chunk_id for chunk in chunks)
        yield made
        self._settle(events)
        for request_id in made.seen:
            self.executor.release(request_id)

    def _settle(self, events: list[News]) -> None:
        while self._pending or self._lost or not self._arrivals.empty():
            event = self._arrivals.get(timeout=30)
            events.append(event)
            match event:
                case WorkersLost(devices):
                    self._lost |= set(devices)
                case WorkersBack(devices):
                    self._lost -= set(devices)
                case StepDone():
                    pass
                case _:
                    assert isinstance(event, ChunkEnd)
                    self._pending.remove(event.chunk_id)

    def _kill(self, device: int) -> None:
        self._lost.add(device)
        os.kill(self.executor.worker_pids[device], signal.SIGKILL)
