"""Devices that exist in the cost model only. Keeps every rule of `core.executor.Executor`, on any clock."""

import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkDone, ChunkFailed, Event, WorkersLost
from tetriserve.core.outcome import CANCELLED
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.sim.clock import Clock


@dataclass(frozen=True, slots=True)
class Faults:
    """What differs from the cost model.

    `noise_cv`: coefficient of variation of one step's time, drawn from `seed` and the chunk's id alone.
    `failing_ids`: requests whose chunks end as ChunkFailed. `recovery_s`: seconds until lost workers are replaced;
    until then nothing starts.
    """

    noise_cv: float = 0.0
    seed: int = 0
    failing_ids: Collection[str] = ()
    recovery_s: float = 0.0


@dataclass(slots=True, eq=False)
class _Run:
    """A chunk on its way through the queues of its devices and of its requests; in `num_waits` it is not the first."""

    chunk: Chunk
    requests: tuple[Request, ...]
    queues: tuple[deque["_Run"], ...]
    num_waits: int
    started_s: float | None = None
    void: bool = False


class SimulatedExecutor:
    """A queue per device; a chunk starts when it heads all its queues and its requests' earlier chunks have ended.

    `deliver` gets one event per chunk, at the time it ends by `clock`.
    """

    def __init__(
        self,
        cost: CostModel,
        num_devices: int,
        clock: Clock,
        deliver: Callable[[Event], None],
        faults: Faults | None = None,
    ) -> None:
        self._cost = cost
        self._clock = clock
        self._deliver = deliver
        self._faults = faults or Faults()
        self._devices: tuple[deque[_Run], ...] = tuple(deque() for _ in range(num_devices))
        self._requests: dict[str, deque[_Run]] = {}
        self._blocks: dict[str, tuple[int, ...]] = {}
        self._cancelled: set[str] = set()
        self._generation = 0
        self._ready_s = 0.0
        self.busy_device_s = 0.0

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return len(self._devices)

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        """Queue chunks, each with its requests."""
        runs = [self._enqueue(chunk, requests) for chunk, requests in chunks]
        for run in runs:
            if run.num_waits == 0:
                self._start(run)

    def cancel(self, request_id: str) -> None:
        """Void a request: what has not started of it takes no time."""
        if request_id in self._requests:
            self._cancelled.add(request_id)

    def release(self, request_id: str) -> None:
        """Forget a request."""
        self._cancelled.discard(request_id)
        self._requests.pop(request_id, None)
        self._blocks.pop(request_id, None)

    def lose_workers(self, devices: tuple[int, ...], message: str = "simulated") -> None:
        """Let devices die: all chunks in flight are void, and all devices are as new."""
        self._generation += 1
        self._ready_s = self._clock.now_s() + self._faults.recovery_s
        for queue in self._devices:
            queue.clear()
        self._requests.clear()
        self._blocks.clear()
        self._deliver(WorkersLost(devices, message))

    def _enqueue(self, chunk: Chunk, requests: tuple[Request, ...]) -> _Run:
        """Behind all that came earlier, in the queues of its devices and in those of its requests."""
        devices = [self._devices[device] for device in chunk.devices]
        queues = (*devices, *[self._requests.setdefault(id_, deque()) for id_ in chunk.request_ids])
        run = _Run(chunk, requests, queues, sum(map(bool, queues)))
        for queue in queues:
            queue.append(run)
        return run

    def _start(self, run: _Run) -> None:
        run.started_s = max(self._clock.now_s(), self._ready_s)
        run.void = self._cancelled.issuperset(run.chunk.request_ids)
        call = partial(self._finish, run, self._generation)
        duration_s = 0.0 if run.void else self._duration_s(run)
        self._clock.call_at(run.started_s + duration_s, ChunkDone.rank, call)

    def _duration_s(self, run: _Run) -> float:
        chunk = run.chunk
        if chunk.stage is not Stage.DENOISE:
            return self._cost.chunk_s(chunk, run.requests[0].size)
        moved = False
        for request_id in chunk.request_ids:
            moved |= self._blocks.get(request_id, chunk.devices) != chunk.devices
            self._blocks[request_id] = chunk.devices
        planned_s = self._cost.chunk_s(chunk, run.requests[0].size, moved)
        if self._faults.noise_cv == 0:
            return planned_s
        source = random.Random(self._faults.seed * 1_000_003 + chunk.chunk_id)
        return planned_s * max(0.1, source.gauss(1.0, self._faults.noise_cv / chunk.num_steps**0.5))

    def _finish(self, run: _Run, generation: int) -> None:
        if generation != self._generation:
            return
        assert run.started_s is not None
        now_s, chunk = self._clock.now_s(), run.chunk
        self.busy_device_s += (now_s - run.started_s) * chunk.degree
        heads = []
        for queue in run.queues:
            queue.popleft()
            if queue:
                queue[0].num_waits -= 1
                heads.append(queue[0])
        for head in heads:
            if head.num_waits == 0 and head.started_s is None:
                self._start(head)
        if run.void:
            message = "cancelled by the caller"
            self._deliver(ChunkFailed(chunk.chunk_id, run.started_s, now_s, chunk.request_ids, CANCELLED, message))
            return
        failed = tuple([id_ for id_ in chunk.request_ids if id_ in self._faults.failing_ids])
        if failed:
            message = "simulated failure"
            self._deliver(ChunkFailed(chunk.chunk_id, run.started_s, now_s, failed, "engine_error", message))
        else:
            self._deliver(ChunkDone(chunk.chunk_id, run.started_s, now_s))
