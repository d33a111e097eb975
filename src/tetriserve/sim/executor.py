"""Devices that exist in the cost model only. Keeps every rule of `core.executor.Executor`, on any clock."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tetriserve.core.chunk import Chunk, Stage, doomed
from tetriserve.core.events import ChunkDone, ChunkEnd, ChunkFailed, ChunkLost, News, StepDone, WorkersBack, WorkersLost
from tetriserve.core.outcome import CANCELLED
from tetriserve.core.progress import Progress
from tetriserve.core.request import Request
from tetriserve.core.steps import ended_steps
from tetriserve.cost.model import CostModel
from tetriserve.sim.clock import Clock


@dataclass(frozen=True, slots=True)
class Faults:
    """What differs from the cost model.

    `noise_cv`: coefficient of variation of one step's time, drawn from `seed` and the chunk's id alone.
    `failing_ids`: requests whose chunks end as ChunkFailed. `recovery_s`: seconds until a lost worker is replaced.
    `slow`: devices that take so many times as long; joint work waits for the slowest.
    """

    noise_cv: float = 0.0
    seed: int = 0
    failing_ids: Collection[str] = ()
    recovery_s: float = 0.0
    slow: Mapping[int, float] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Run:
    """A chunk that waits for the end of `num_waits` others; `followers` wait for its end, in order of submission."""

    chunk: Chunk
    requests: tuple[Request, ...]
    num_waits: int = 0
    followers: list["_Run"] = field(default_factory=list)
    started_s: float | None = None
    void: bool = False
    lost: ChunkLost | None = None
    ended: bool = False


class SimulatedExecutor:
    """A chunk starts when the chunks before it on each of its devices, and of each of its requests, have ended.

    `deliver` gets one event per chunk, at the time it ends by `clock`, and watched steps evenly spaced before it.
    """

    def __init__(
        self,
        cost: CostModel,
        num_devices: int,
        clock: Clock,
        deliver: Callable[[News], None],
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
        self._runs: dict[int, _Run] = {}
        self._progress = Progress()
        self._lost: set[int] = set()
        self._num_losses = [0] * num_devices
        self.busy_device_s = 0.0

    @property
    def num_devices(self) -> int:
        """Number of devices."""
        return len(self._last_on)

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        """Queue chunks, each with its requests."""
        runs = [self._enqueue(chunk, requests) for chunk, requests in chunks]
        for run in runs:
            if run.lost:
                self._clock.call_at(self._clock.now_s(), ChunkLost.rank, partial(self._end_if_first, run))
            elif run.num_waits == 0:
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
        self._progress.forget(request_id)

    def lose_workers(self, devices: tuple[int, ...], message: str = "simulated") -> None:
        """Let devices die, to be back after `recovery_s`."""
        for device in devices:
            self._lost.add(device)
            self._num_losses[device] += 1
            call = partial(self._restore, device, self._num_losses[device])
            self._clock.call_at(self._clock.now_s() + self._faults.recovery_s, WorkersBack.rank, call)
        self._progress.lose([id_ for id_ in self._progress.within_step() if set(devices) & set(self._blocks[id_])])
        self._deliver(WorkersLost(devices, message))
        self._lose(devices, message)

    def _restore(self, device: int, num_losses: int) -> None:
        """A worker has been replaced, unless another loss came in between."""
        if self._num_losses[device] == num_losses:
            self._lost.remove(device)
            self._deliver(WorkersBack((device,)))

    def _lose(self, devices: Collection[int], message: str) -> None:
        """Chunks are lost: they hold no device any more, and end when their requests' earlier ones have."""
        runs = tuple(self._runs.values())
        for chunk in doomed((run.chunk for run in runs), lambda chunk: not set(devices).isdisjoint(chunk.devices)):
            run = self._runs[chunk.chunk_id]
            suspect = run.started_s is not None and not set(devices).isdisjoint(chunk.devices)
            run.lost = run.lost or ChunkLost(chunk.chunk_id, message, suspect)
            self._progress.lose(chunk.request_ids)
        self._last_on = [None] * self.num_devices
        for run in runs:
            run.followers.clear()
            run.num_waits = 0
            for id_ in run.chunk.request_ids:
                self._last_of.pop(id_, None)
        for run in runs:
            self._follow(run)
        for run in runs:
            if run.lost:
                self._end_if_first(run)
            elif run.num_waits == 0 and run.started_s is None:
                self._start(run)

    def _end_if_first(self, run: _Run) -> None:
        if run.lost and run.num_waits == 0 and not run.ended:
            self._end(run, run.lost)

    def _enqueue(self, chunk: Chunk, requests: tuple[Request, ...]) -> _Run:
        """Behind the last one on each of its devices and of each of its requests."""
        run = _Run(chunk, requests)
        if not self._progress.accept(chunk, requests) or not self._lost.isdisjoint(chunk.devices):
            run.lost = ChunkLost(chunk.chunk_id, "planned before a loss was known", suspect=False)
            self._progress.lose(chunk.request_ids)
        self._runs[chunk.chunk_id] = run
        self._follow(run)
        return run

    def _follow(self, run: _Run) -> None:
        chunk, last_on, last_of = run.chunk, self._last_on, self._last_of
        devices = () if run.lost else chunk.devices
        before = {last_on[device] for device in devices}
        before.update([last_of.get(id_) for id_ in chunk.request_ids])
        for device in devices:
            last_on[device] = run
        for id_ in chunk.request_ids:
            last_of[id_] = run
        for one in before:
            if one is not None and not one.ended:
                one.followers.append(run)
                run.num_waits += 1

    def _start(self, run: _Run) -> None:
        run.started_s = self._clock.now_s()
        run.void = bool(self._cancelled) and self._cancelled.issuperset(run.chunk.request_ids)
        duration_s = 0.0 if run.void else self._duration_s(run)
        self._clock.call_at(run.started_s + duration_s, ChunkFailed.rank, partial(self._finish, run))
        is_watched = any(request.is_watched for request in run.requests)
        if is_watched and run.chunk.stage is Stage.DENOISE and not run.void:
            self._watch(run, run.started_s, duration_s / run.chunk.num_steps)

    def _watch(self, run: _Run, started_s: float, step_s: float) -> None:
        first, total = run.chunk.first_steps[0], run.chunk.num_steps
        for step in ended_steps(first, total):
            num_steps = step + 1 - first
            if num_steps + 1 <= total:  # the last is told by the chunk's end
                at_s = started_s + num_steps * step_s
                self._clock.call_at(at_s, ChunkFailed.rank, partial(self._step, run, num_steps))

    def _step(self, run: _Run, num_steps: float) -> None:
        if not run.lost:
            self._deliver(StepDone(run.chunk.chunk_id, num_steps))

    def _duration_s(self, run: _Run) -> float:
        chunk, blocks, slow = run.chunk, self._blocks, self._faults.slow
        slowness = max([slow.get(device, 1.0) for device in chunk.devices]) if slow else 1.0
        if chunk.stage is not Stage.DENOISE:
            return slowness * self._cost.chunk_s(chunk, run.requests[0].size)
        moved = False
        for request_id in chunk.request_ids:
            moved |= blocks.get(request_id, chunk.devices) != chunk.devices
            blocks[request_id] = chunk.devices
        planned_s = slowness * self._cost.chunk_s(chunk, run.requests[0].size, moved)
        if self._faults.noise_cv == 0:
            return planned_s
        source = random.Random(self._faults.seed * 1_000_003 + chunk.chunk_id)
        return planned_s * max(0.1, source.gauss(1.0, self._faults.noise_cv / chunk.num_steps**0.5))

    def _finish(self, run: _Run) -> None:
        if run.lost:
            return
        assert run.started_s is not None
        now_s, chunk, failing = self._clock.now_s(), run.chunk, self._faults.failing_ids
        self.busy_device_s += (now_s - run.started_s) * len(chunk.devices)
        failed = tuple([id_ for id_ in chunk.request_ids if id_ in failing])
        if run.void:
            message = "cancelled by the caller"
            self._end(run, ChunkFailed(chunk.chunk_id, run.started_s, now_s, chunk.request_ids, CANCELLED, message))
        elif failed:
            message = "simulated failure"
            self._end(run, ChunkFailed(chunk.chunk_id, run.started_s, now_s, failed, "engine_error", message))
        else:
            self._progress.done(chunk)
            self._end(run, ChunkDone(chunk.chunk_id, run.started_s, now_s))

    def _end(self, run: _Run, event: ChunkEnd) -> None:
        """Start what waits for this, and tell."""
        run.ended = True
        del self._runs[run.chunk.chunk_id]
        followers = tuple(run.followers)
        for follower in followers:
            follower.num_waits -= 1
            if follower.num_waits == 0 and not follower.lost:
                self._start(follower)
        self._deliver(event)
        for follower in followers:
            self._end_if_first(follower)
