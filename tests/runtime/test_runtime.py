import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError, RequestCancelledError, RequestFailedError
from tetriserve.core.events import ChunkDone, ChunkFailed, ChunkLost, Event, StepDone, Tick, WorkersBack, WorkersLost
from tetriserve.core.image import Image
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import unmeasured_profile
from tetriserve.runtime.runtime import Progress, Runtime
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler

SIZE = Size(64, 64)


@dataclass
class InstantExecutor:
    """Ends every chunk in the next turn of the loop. `fail` names requests whose decoding fails."""

    deliver: Callable[[Event], None] = lambda event: None
    num_devices: int = 1
    fail: set[str] = field(default_factory=set)
    stall: bool = False
    failed: Exception | None = None
    cancelled: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    submitted: list[Chunk] = field(default_factory=list)

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        for chunk, _ in chunks:
            self.submitted.append(chunk)
            if not self.stall:
                asyncio.get_running_loop().call_soon(self.deliver, self._end_of(chunk))

    def _end_of(self, chunk: Chunk) -> Event:
        now_s = Runtime.now_s()
        if chunk.stage is Stage.DECODE and chunk.request_ids[0] in self.fail:
            return ChunkFailed(chunk.chunk_id, now_s, now_s, chunk.request_ids, "out_of_memory", "no room")
        return ChunkDone(chunk.chunk_id, now_s, now_s)

    def take_image(self, request_id: str) -> Image:
        assert request_id not in self.released
        return Image(1, 1, request_id.encode()[:3].ljust(3))

    def take_preview(self, request_id: str) -> Image:
        return Image(1, 1, b"pre")

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)

    def release(self, request_id: str) -> None:
        self.released.append(request_id)


def make_runtime(executor: InstantExecutor) -> Runtime:
    cost = CostModel(unmeasured_profile("any", [SIZE], [1]), 1)
    runtime = Runtime(Scheduler(make_policy("fixed-sp1", cost, 1), cost, 1), executor)
    executor.deliver = runtime.handle
    return runtime


def request(name: str) -> Request:
    now_s = Runtime.now_s()
    return Request(name, "a cat", SIZE, 3, 1.0, 0, now_s, now_s + 10)


async def test_requests_run_to_their_images_and_are_forgotten() -> None:
    executor = InstantExecutor()
    runtime = make_runtime(executor)
    results = await asyncio.gather(*(runtime.generate(request(name)) for name in ("a", "b", "c")))
    assert [result.image.rgb for result in results] == [b"a  ", b"b  ", b"c  "]
    assert all(result.outcome.met_deadline and result.outcome.degrees == (1, 1, 1) for result in results)
    assert sorted(executor.released) == ["a", "b", "c"]
    assert runtime.num_in_flight == 0


async def test_a_failed_request_takes_nobody_with_it() -> None:
    executor = InstantExecutor(fail={"b"})
    runtime = make_runtime(executor)
    names = ("a", "b", "c")
    results = await asyncio.gather(*(runtime.generate(request(name)) for name in names), return_exceptions=True)
    assert isinstance(results[1], RequestFailedError)
    assert (str(results[1]), results[1].code) == ("no room", "out_of_memory")
    assert not any(isinstance(result, BaseException) for result in (results[0], results[2]))
    assert sorted(executor.released) == ["a", "b", "c"]


async def test_a_caller_that_goes_away_disturbs_nobody() -> None:
    executor = InstantExecutor()
    runtime = make_runtime(executor)
    gone = asyncio.create_task(runtime.generate(request("gone")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone.cancel()
    result = await runtime.generate(request("stays"))
    assert result.outcome.error is None
    while runtime.num_in_flight:
        await asyncio.sleep(0)
    assert sorted(executor.released) == ["gone", "stays"]
    assert executor.cancelled == ["gone"]


async def test_a_cancelled_request_is_an_error_of_its_own_kind_to_whoever_waits_for_it() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    waiting, queued = (asyncio.create_task(runtime.generate(request(name))) for name in ("a", "b"))
    while not executor.submitted:
        await asyncio.sleep(0.001)
    runtime.cancel("b")
    with pytest.raises(RequestCancelledError, match="b"):
        await queued
    runtime.cancel("a")
    for chunk in executor.submitted:
        runtime.handle(ChunkFailed(chunk.chunk_id, 0.0, 0.0, ("a",), "cancelled", "cancelled by the caller"))
    with pytest.raises(RequestCancelledError, match="a"):
        await waiting
    runtime.cancel("a")
    assert (executor.cancelled, executor.released) == (["a"], ["b", "a"])


async def test_whoever_watches_is_told_of_steps_and_pictures() -> None:
    executor = InstantExecutor()
    runtime = make_runtime(executor)
    told: list[Progress] = []
    watched = runtime.generate(request("a"), told.append)
    await asyncio.gather(watched, runtime.generate(request("b")))
    assert [(progress.request.request_id, progress.num_steps_done) for progress in told] == [
        ("a", 1),
        ("a", 2),
        ("a", 3),
    ]
    assert [progress.preview for progress in told] == [None, None, Image(1, 1, b"pre")]
    assert [chunk.num_steps for chunk in executor.submitted if "a" in chunk.request_ids] == [0, 3, 0]


async def test_a_step_is_told_when_it_is_done_and_not_again_when_it_is_taken_again() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    told: list[int] = []
    task = asyncio.create_task(runtime.generate(request("a"), lambda progress: told.append(progress.num_steps_done)))
    while not executor.submitted:
        await asyncio.sleep(0.001)
    executor.stall = False
    lost = list(executor.submitted)
    (steps,) = [chunk for chunk in lost if chunk.stage is Stage.DENOISE]
    runtime.handle(StepDone(steps.chunk_id, 1))
    runtime.handle(StepDone(steps.chunk_id, 2))
    assert told == [1, 2]
    runtime.handle(WorkersLost((0,), "killed"))
    for chunk in lost:
        runtime.handle(ChunkLost(chunk.chunk_id, "killed", suspect=False))
    runtime.handle(StepDone(steps.chunk_id, 2))
    runtime.handle(WorkersBack((0,)))
    await task
    assert told == [1, 2, 3]


async def test_a_request_whose_chunks_are_lost_goes_on_when_there_is_a_device() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    task = asyncio.create_task(runtime.generate(request("a")))
    while not executor.submitted:
        await asyncio.sleep(0.001)
    executor.stall = False
    lost = list(executor.submitted)
    runtime.handle(WorkersLost((0,), "killed"))
    for chunk in lost:
        runtime.handle(ChunkLost(chunk.chunk_id, "killed", suspect=False))
    await asyncio.sleep(0.01)
    assert executor.submitted == lost
    runtime.handle(WorkersBack((0,)))
    result = await task
    assert result.outcome.error is None
    assert [chunk.stage for chunk in executor.submitted].count(Stage.ENCODE) == 2


async def test_when_the_executor_has_given_up_everybody_is_told() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    task = asyncio.create_task(runtime.generate(request("a")))
    while not executor.submitted:
        await asyncio.sleep(0.001)
    executor.failed = EngineError("the workers can't be started")
    runtime.handle(WorkersLost((0,), "killed"))
    with pytest.raises(EngineError, match="can't be started"):
        await task


async def test_a_slow_device_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    runtime = make_runtime(InstantExecutor())
    for _ in range(20):
        runtime.scheduler._pace.observe((0,), 2.0, 1.0)
        runtime.handle(Tick())
    assert [record.getMessage()[:27] for record in caplog.records] == ["device 0 takes 1.7 times as"]


async def test_a_broken_scheduler_ends_everything_with_a_reason_instead_of_hanging() -> None:
    runtime = make_runtime(InstantExecutor(stall=True))
    task = asyncio.create_task(runtime.generate(request("a")))
    await asyncio.sleep(0)
    runtime.handle(ChunkDone(999, 0.0, 0.0))
    with pytest.raises(EngineError, match="999"):
        await task
    assert runtime.failure is not None
    with pytest.raises(EngineError, match="999"):
        await runtime.generate(request("b"))


async def test_an_executor_that_gave_up_is_seen_before_anybody_asks() -> None:
    executor = InstantExecutor()
    runtime = make_runtime(executor)
    executor.failed = EngineError("the workers can't be started")
    assert runtime.failure == "the workers can't be started"
    with pytest.raises(EngineError, match="can't be started"):
        await runtime.generate(request("a"))
