"""Devices that exist in the cost model only. Keeps every rule of `core.executor.Executor`, on any clock."""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
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
    """A chunk that waits for the end of `num_waits` others; `followers` wait for its end, in order of submission."""

    chunk: Chunk
    requests: tuple[Request, ...]
    num_waits: int = 0
    followers: list["_Run"] = field(default_factory=list)
    started_s: float = 0.0
    void: bool = False
    ended: bool = False


class SimulatedExecutor:
    """A chunk starts when the chunks before it on each of its devices, and of each of its requests, have ended.

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
        self._last_on: list[_Run | None] = [None] * num_devices
        self._last_of: dict[str, _Run] = {}
        self._blocks: dict[str, tuple[int, ...]] = {}
        self._cancelled: set[str] = set()
        self._generation = 0
        self._ready_s = 0.0
        self.busy_device_s = 0.0

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return len(self._last_on)

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        """Queue chunks, each with its requests."""
        runs = [self._enqueue(chunk, requests) for chunk, requests in chunks]
        for run in runs:
            if run.num_waits == 0:
                self._start(run)

    def cancel(self, request_id: str) -> None:
        """Void a request: what has not started of it takes no time."""
        if request_id in self._last_of:
            self._cancelled.add(request_id)

    def release(self, request_id: str) -> None:
        """Forget a request."""
        self._cancelled.discard(request_id)
        self._last_of.pop(request_id, None)
        self._blocks.pop(request_id, None)

    def lose_workers(self, devices: tuple[int, ...], message: str = "simulated") -> None:
        """Let devices die: all chunks in flight are void, and all devices are as new."""
        self._generation += 1
        self._ready_s = self._clock.now_s() + self._faults.recovery_s
        self._last_on = [None] * self.num_devices
        self._last_of.clear()
        self._blocks.clear()
        self._deliver(WorkersLost(devices, message))

    def _enqueue(self, chunk: Chunk, requests: tuple[Request, ...]) -> _Run:
        """Behind the last one on each of its devices and of each of its requests."""
        run, last_on, last_of = _Run(chunk, requests), self._last_on, self._last_of
        before = {last_on[device] for device in chunk.devices}
        before.update([last_of.get(id_) for id_ in chunk.request_ids])
        for device in chunk.devices:
            last_on[device] = run
        for id_ in chunk.request_ids:
            last_of[id_] = run
        for one in before:
            if one is not None and not one.ended:
                one.followers.append(run)
                run.num_waits += 1
        return run

    def _start(self, run: _Run) -> None:
        now_s = self._clock.now_s()
        run.started_s = now_s if now_s > self._ready_s else self._ready_s
        run.void = bool(self._cancelled) and self._cancelled.issuperset(run.chunk.request_ids)
        call = partial(self._finish, run, self._generation)
        duration_s = 0.0 if run.void else self._duration_s(run)
        self._clock.call_at(run.started_s + duration_s, ChunkFailed.rank, call)

    def _duration_s(self, run: _Run) -> float:
        chunk, blocks = run.chunk, self._blocks
        if chunk.stage is not Stage.DENOISE:
            return self._cost.chunk_s(chunk, run.requests[0].size)
        moved = False
        for request_id in chunk.request_ids:
            moved |= blocks.get(request_id, chunk.devices) != chunk.devices
            blocks[request_id] = chunk.devices
        planned_s = self._cost.chunk_s(chunk, run.requests[0].size, moved)
        if self._faults.noise_cv == 0:
            return planned_s
        source = random.Random(self._faults.seed * 1_000_003 + chunk.chunk_id)
        return planned_s * max(0.1, source.gauss(1.0, self._faults.noise_cv / chunk.num_steps**0.5))

    def _finish(self, run: _Run, generation: int) -> None:
        if generation != self._generation:
            return
        now_s, chunk = self._clock.now_s(), run.chunk
        self.busy_device_s += (now_s - run.started_s) * len(chunk.devices)
        run.ended = True
        for follower in run.followers:
            follower.num_waits -= 1
            if follower.num_waits == 0:
                self._start(follower)
        if run.void:
            message = "cancelled by the caller"
            self._deliver(ChunkFailed(chunk.chunk_id, run.started_s, now_s, chunk.request_ids, CANCELLED, message))
            return
        failing = self._faults.failing_ids
        failed = tuple([id_ for id_ in chunk.request_ids if id_ in failing])
        if failed:
            message = "simulated failure"
            self._deliver(ChunkFailed(chunk.chunk_id, run.started_s, now_s, failed, "engine_error", message))
        else:
            self._deliver(ChunkDone(chunk.chunk_id, run.started_s, now_s))
