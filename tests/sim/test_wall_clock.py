"""The simulated executor behind a wall clock: what a runtime without devices would use."""

import asyncio

from scheduler.builders import make_cost, make_request
from sim.loop_clock import LoopClock
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import Event
from tetriserve.sim.executor import SimulatedExecutor


async def test_chunks_take_their_time_in_real_seconds() -> None:
    events: asyncio.Queue[Event] = asyncio.Queue()
    executor = SimulatedExecutor(make_cost(2, 0.01, 0.01), 2, LoopClock(), events.put_nowait)
    request = make_request("a")
    chunks = (
        Chunk(0, Stage.ENCODE, ("a",), (0,)),
        Chunk(1, Stage.DENOISE, ("a",), (0, 1), (0,), 1),
        Chunk(2, Stage.DECODE, ("a",), (0,)),
    )
    executor.submit([(chunk, (request,)) for chunk in chunks])
    assert events.empty()
    ends = [await asyncio.wait_for(events.get(), 5) for _ in chunks]
    assert [end.chunk_id for end in ends] == [0, 1, 2]
    assert ends[-1].finished_s - ends[0].started_s >= 0.01 + 0.045 + 0.01 - 0.005
