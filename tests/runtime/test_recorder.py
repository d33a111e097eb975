import asyncio

import pytest

from runtime.test_runtime import InstantExecutor, make_runtime, request
from tetriserve.core.chunk import Stage
from tetriserve.core.errors import RequestCancelledError
from tetriserve.core.events import ChunkLost, WorkersBack, WorkersLost
from tetriserve.runtime import recorder
from tetriserve.runtime.records import ChunkState, Records, RequestState
from tetriserve.runtime.runtime import Runtime


def look(runtime: Runtime, after: int = 0, later_s: float = 0.0) -> Records:
    return runtime.recorder.look(runtime.now_s() + later_s, after=after)


async def test_a_request_and_its_chunks_are_remembered_without_its_prompt() -> None:
    runtime = make_runtime(InstantExecutor())
    await runtime.generate(request("a"))
    records = look(runtime)
    (one,) = records.requests
    assert (one.request_id, one.size, one.num_steps, one.num_steps_done) == ("a", "64x64", 3, 3)
    assert one.state is RequestState.MET
    assert one.begin_s is not None
    assert one.end_s is not None
    assert 0 <= one.arrival_s <= one.begin_s <= one.end_s < one.deadline_s
    chunks = sorted(records.chunks, key=lambda chunk: chunk.chunk_id)
    assert [chunk.stage for chunk in chunks] == [Stage.ENCODE, Stage.DENOISE, Stage.DECODE]
    assert {chunk.state for chunk in chunks} == {ChunkState.DONE}
    assert "a cat" not in repr(records)


async def test_a_second_look_tells_only_what_has_changed() -> None:
    runtime = make_runtime(InstantExecutor())
    await runtime.generate(request("a"))
    first = look(runtime)
    assert look(runtime, first.revision).requests == look(runtime, first.revision).chunks == ()
    await runtime.generate(request("b"))
    second = look(runtime, first.revision)
    assert [one.request_id for one in second.requests] == ["b"]
    assert {chunk.request_ids for chunk in second.chunks} == {("b",)}


async def test_what_is_under_way_has_predicted_times() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    tasks = [asyncio.create_task(runtime.generate(request(name))) for name in ("a", "b")]
    while not executor.submitted:
        await asyncio.sleep(0.001)
    records = look(runtime)
    states = {one.request_id: one.state for one in records.requests}
    assert states == {"a": RequestState.RUNNING, "b": RequestState.WAITING}
    assert all(one.end_s is not None and one.end_s > one.arrival_s for one in records.requests)
    assert {chunk.state for chunk in records.chunks} == {ChunkState.PLANNED}
    assert all(chunk.begin_s <= chunk.end_s for chunk in records.chunks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_lost_workers_end_what_ran_and_the_request_waits_again() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    waiting = asyncio.create_task(runtime.generate(request("a")))
    while not executor.submitted:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.005)
    executor.stall = False
    runtime.handle(WorkersLost((0,), "gone"))
    for chunk in tuple(executor.submitted):
        runtime.handle(ChunkLost(chunk.chunk_id, "gone", suspect=False))
    runtime.handle(WorkersBack((0,)))
    assert look(runtime).requests[0].state is RequestState.WAITING
    await waiting
    records = look(runtime)
    first = min(records.chunks, key=lambda chunk: chunk.chunk_id)
    assert first.state is ChunkState.LOST
    assert records.requests[0].state is RequestState.MET


async def test_the_cancelled_and_the_failed_are_called_so() -> None:
    executor = InstantExecutor(fail={"b"})
    runtime = make_runtime(executor)
    cancelled, failed = (asyncio.create_task(runtime.generate(request(name))) for name in ("a", "b"))
    await asyncio.sleep(0)
    runtime.cancel("a")
    with pytest.raises(RequestCancelledError):
        await cancelled
    await asyncio.gather(failed, return_exceptions=True)
    states = {one.request_id: one.state for one in look(runtime).requests}
    assert states == {"a": RequestState.CANCELLED, "b": RequestState.FAILED}


async def test_when_nothing_can_go_on_the_last_minutes_are_still_there_to_be_looked_at() -> None:
    executor = InstantExecutor(stall=True)
    runtime = make_runtime(executor)
    tasks = [asyncio.create_task(runtime.generate(request(name))) for name in ("a", "b")]
    while not executor.submitted:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.005)
    executor.failed = RuntimeError("gone")
    runtime.fail("gone")
    await asyncio.gather(*tasks, return_exceptions=True)
    records = look(runtime)
    assert {one.state for one in records.requests} == {RequestState.FAILED}
    assert {chunk.state for chunk in records.chunks} == {ChunkState.LOST}


async def test_it_forgets_what_is_old_and_what_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_REQUESTS", 5)
    monkeypatch.setattr(recorder, "MAX_CHUNKS", 6)
    monkeypatch.setattr(recorder, "KEEP_S", 0.05)
    runtime = make_runtime(InstantExecutor())
    for name in "abcdefgh":
        await runtime.generate(request(name))
    records = look(runtime)
    assert {one.request_id for one in records.requests} <= set("defgh")
    assert len(records.chunks) <= 6
    await asyncio.sleep(0.06)
    await runtime.generate(request("last"))
    assert [one.request_id for one in look(runtime).requests] == ["last"]
    assert look(runtime, later_s=1000.0).chunks == ()
