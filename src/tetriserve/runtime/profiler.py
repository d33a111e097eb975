"""Measures a profile: the time of a step at every size and degree, and of the stages around the steps.

The question: how long will a chunk take on *this* machine while every device is busy? So all blocks of a degree run
the same chunk at once, as they do under load, and the executor that serves is the executor that is measured.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tetriserve.core.blocks import aligned_blocks, degrees
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError
from tetriserve.core.events import ChunkDone, ChunkFailed, ChunkLost, News, WorkersBack, WorkersLost
from tetriserve.core.executor import Executor
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.batches import batches_for
from tetriserve.cost.profile import Profile, StageTime, StepTime
from tetriserve.runtime.mailbox import Mailbox

PROMPT = "a red apple"
SHORTEST_CHUNK_STEPS = 2
LONGEST_CHUNK_STEPS = 8
CHUNK_S = 0.12
"""About as long as the chunks that policies make: what a chunk costs beside its steps is shared by as many steps."""
WARM_UP_CHUNKS = 1
MIN_REPETITIONS = 3
CELL_BUDGET_S = 4.0
"""A cell that has taken this long ends after the least number of repetitions."""
PESSIMISM = 2.0
"""A profile that says more than so many times what a step takes was probably measured while the machine was busy."""
LEAST_SAMPLES = 2
"""Of which there is a percentile."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What is measured and on what: the provenance of a profile."""

    model: str
    device_name: str
    dtype: str
    text_tokens: int
    torch_version: str
    guidance_scale: float
    is_cpu: bool


Work = tuple[Chunk, tuple[Request, ...]]


@dataclass(slots=True)
class _Steps:
    """Which steps of a request the next chunk takes."""

    first: int = 0
    num: int = SHORTEST_CHUNK_STEPS

    def take(self) -> tuple[int, int]:
        """The first step of a chunk, and how many it has."""
        first, self.first = self.first, self.first + self.num
        return first, self.num

    def adapt(self, step_s: float) -> None:
        """Make chunks as long as those of policies, now that it is known how long a step takes."""
        self.num = min(LONGEST_CHUNK_STEPS, max(SHORTEST_CHUNK_STEPS, round(CHUNK_S / step_s)))


@dataclass(slots=True)
class Profiler:
    """Runs chunks of its own on an executor that is otherwise idle. `progress(done, total, text)` is told each step.

    On CPUs, whose step times jitter, a cell's value is the 95th percentile of `repetitions` chunks; on GPUs the
    median. Raises EngineError if a chunk fails: a size that does not fit must not be offered.
    """

    executor: Executor
    mailbox: Mailbox
    machine: Machine
    repetitions: int = 5
    progress: Callable[[int, int, str], None] = lambda done, total, text: None
    _cell: str = ""
    _chunk_ids: Iterator[int] = field(default_factory=itertools.count)
    _waiting: dict[int, asyncio.Future[ChunkDone]] = field(default_factory=dict)

    async def measure(self, sizes: Sequence[Size]) -> Profile:
        """The whole profile for `sizes` on all degrees that the executor's devices allow."""
        num_devices = self.executor.num_devices
        self.mailbox.listener = self._on_event
        cells = [(size, k, batch) for size in sizes for k in degrees(num_devices) for batch in self._batches(size)]
        total = len(cells) + len(sizes) + 1
        entries, stages = [], []
        for done, (size, degree, batch) in enumerate(cells):
            self._begin(done, total, f"step {size} at degree {degree}, batch {batch}")
            entries.append(await self._step_time(size, degree, batch, self._repetitions()))
        for done, size in enumerate(sizes, start=len(cells)):
            self._begin(done, total, f"encode and decode {size}")
            stages += await self._stage_times(size)
        self._begin(total - 1, total, "switch of degree")
        switch_s = await self._switch_s(sizes[0])
        self.progress(total, total, "profile measured")
        self.mailbox.listener = None
        return Profile(
            model=self.machine.model,
            gpu=self.machine.device_name,
            num_gpus_measured=num_devices,
            dtype=self.machine.dtype,
            text_tokens=self.machine.text_tokens,
            how=f"up to {self.repetitions} chunks of about {CHUNK_S:g} s a cell, every device busy, "
            + ("95th percentile" if self.machine.is_cpu else "median"),
            torch=self.machine.torch_version,
            measured_on=time.strftime("%Y-%m-%d"),
            entries=tuple(entries),
            stages=tuple(stages),
            switch_s=switch_s,
        )

    async def is_pessimistic(self, profile: Profile, size: Size) -> bool:
        """Whether a step of `size` at degree 1 takes far less time now than the profile says; asked with short chunks.

        The other way round says nothing: whoever keeps the machine busy now may soon be gone, and a scheduler's
        `Pace` follows a slow machine.
        """
        alone = (size, 1, 1)
        expected = next(one for one in profile.entries if (one.size, one.degree, one.batch) == alone)
        self.mailbox.listener = self._on_event
        self._cell = f"step {size}"
        found = await self._step_time(*alone, range(WARM_UP_CHUNKS + LEAST_SAMPLES))
        self.mailbox.listener = None
        return found.step_s * PESSIMISM < expected.step_s

    def _batches(self, size: Size) -> tuple[int, ...]:
        """On CPUs one request keeps a worker busy, whatever its size."""
        return (1,) if self.machine.is_cpu else batches_for(size)

    def _begin(self, done: int, total: int, cell: str) -> None:
        self._cell = cell
        self.progress(done, total, cell)

    async def _step_time(self, size: Size, degree: int, batch: int, repetitions: Iterable[int]) -> StepTime:
        blocks = aligned_blocks(self.executor.num_devices, degree)
        lanes = [([self._request(size) for _ in range(batch)], block) for block in blocks]
        for requests, block in lanes:
            await self._run([self._chunk(Stage.ENCODE, [request], block[:1]) for request in requests])
        steps, samples = _Steps(), []
        for repetition in repetitions:
            first, num = steps.take()
            done = await self._run(
                [self._chunk(Stage.DENOISE, requests, block, first, num) for requests, block in lanes]
            )
            times = [(event.finished_s - event.started_s) / num for event in done]
            steps.adapt(max(times))
            if repetition >= WARM_UP_CHUNKS:
                samples += times
        self._release([request for requests, _ in lanes for request in requests])
        return StepTime(size.width, size.height, degree, batch, self._typical(samples))

    async def _stage_times(self, size: Size) -> list[StageTime]:
        samples: dict[Stage, list[float]] = {Stage.ENCODE: [], Stage.DECODE: []}
        for repetition in self._repetitions():
            blocks = aligned_blocks(self.executor.num_devices, 1)
            requests = [self._request(size) for _ in blocks]
            for stage, times in samples.items():
                lanes = zip(requests, blocks, strict=True)
                done = await self._run([self._chunk(stage, [request], block) for request, block in lanes])
                if repetition >= WARM_UP_CHUNKS:
                    times += [event.finished_s - event.started_s for event in done]
            self._release(requests)
        return [StageTime(stage, *size, 1, self._typical(times)) for stage, times in samples.items()]

    async def _switch_s(self, size: Size) -> float:
        """The median gap between a chunk's end on one device and the next one's start on another; 0 for one device."""
        if self.executor.num_devices == 1:
            return 0.0
        request = self._request(size)
        await self._run([self._chunk(Stage.ENCODE, [request], (0,))])
        gaps = []
        for repetition in self._repetitions():
            here, there = (repetition % 2,), ((repetition + 1) % 2,)
            chunks = [
                self._chunk(Stage.DENOISE, [request], block, 2 * repetition + i, 1)
                for i, block in enumerate((here, there))
            ]
            first, second = await self._run(chunks)
            gaps.append(second.started_s - first.finished_s)
        self._release([request])
        return max(0.0, statistics.median(gaps))

    def _repetitions(self) -> Iterator[int]:
        """Warm-ups, then `repetitions` more, or fewer if they take long: slow steps vary less."""
        begin_s = time.monotonic()
        for repetition in range(WARM_UP_CHUNKS + self.repetitions):
            if repetition < WARM_UP_CHUNKS + MIN_REPETITIONS or time.monotonic() < begin_s + CELL_BUDGET_S:
                yield repetition

    def _typical(self, samples: list[float]) -> float:
        if self.machine.is_cpu:
            return statistics.quantiles(samples, n=20, method="inclusive")[-1]
        return statistics.median(samples)

    def _request(self, size: Size) -> Request:
        num_steps = LONGEST_CHUNK_STEPS * 2 * (WARM_UP_CHUNKS + self.repetitions)
        name = f"profile-{next(self._chunk_ids)}"
        return Request(name, f"{PROMPT} {name}", size, num_steps, self.machine.guidance_scale, 0, 0.0, 0.0)

    def _chunk(
        self, stage: Stage, requests: Sequence[Request], block: tuple[int, ...], first_step: int = 0, num_steps: int = 0
    ) -> Work:
        ids = tuple(request.request_id for request in requests)
        first_steps = (first_step,) * len(ids) if stage is Stage.DENOISE else ()
        return Chunk(next(self._chunk_ids), stage, ids, block, first_steps, num_steps), tuple(requests)

    async def _run(self, work: Sequence[Work]) -> list[ChunkDone]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in work]
        for (chunk, _), future in zip(work, futures, strict=True):
            self._waiting[chunk.chunk_id] = future
        self.executor.submit(work)
        return list(await asyncio.gather(*futures))

    def _on_event(self, event: News) -> None:
        match event:
            case ChunkDone(chunk_id):
                self._waiting.pop(chunk_id).set_result(event)
            case ChunkFailed(chunk_id, message=message):
                reason = f"profiling failed at {self._cell}: {message}; --sizes leaves a size out"
                self._waiting.pop(chunk_id).set_exception(EngineError(reason))
            case WorkersBack() | ChunkLost():
                return  # of a loss that has been told
            case WorkersLost(message=message):
                for future in self._waiting.values():
                    future.set_exception(EngineError(f"profiling failed at {self._cell}, a worker was lost: {message}"))
                self._waiting.clear()
            case _:
                raise AssertionError(f"an executor does not send {type(event).__name__}")

    def _release(self, requests: Sequence[Request]) -> None:
        for request in requests:
            self.executor.release(request.request_id)
