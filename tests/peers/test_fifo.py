"""First come, first served, on whatever replica is free; what fails, fails alone."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from tetriserve.core.errors import EngineError
from tetriserve.peers.fifo import Fifo
from tetriserve.peers.job import Failed, Job, Made

SECONDS = 5.0


@dataclass
class FakeReplica:
    """Makes an image when it is told to. A prompt says what becomes of it."""

    connections: tuple[int, ...] = (1, 2)
    begun: list[int] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def make(self, job: Job) -> Made | Failed:
        self.begun.append(job.seed)
        assert self.go.acquire(timeout=SECONDS)
        if job.prompt == "dies":
            raise EngineError("a worker is gone")
        return Failed("out of memory") if job.prompt == "fails" else Made(b"rgb", 0.5)


def job(seed: int, prompt: str = "a cat") -> Job:
    return Job(prompt, 16, 16, 1, 3.5, seed)


async def begun(replica: FakeReplica, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while len(replica.begun) < count:
            await asyncio.sleep(0.001)


async def test_one_at_a_time_in_order_of_arrival() -> None:
    replica = FakeReplica()
    fifo = Fifo([replica])  # type: ignore[list-item]
    async with fifo.running():
        waiting = [asyncio.create_task(fifo.make(job(seed))) for seed in range(3)]
        await begun(replica, 1)
        assert replica.begun == [0], "the second waits for the first"
        for _ in waiting:
            replica.go.release()
        served = await asyncio.gather(*waiting)
    assert replica.begun == [0, 1, 2]
    assert served[0].degree == 2
    assert served[0].queue_s <= served[2].queue_s


async def test_a_long_image_holds_up_its_replica_alone() -> None:
    slow, quick = FakeReplica(), FakeReplica()
    fifo = Fifo([slow, quick])  # type: ignore[list-item]
    async with fifo.running():
        first = asyncio.create_task(fifo.make(job(0)))
        await begun(slow, 1)
        quick.go.release(2)
        await asyncio.gather(fifo.make(job(1)), fifo.make(job(2)))
        assert not first.done()
        slow.go.release()
        await first
    assert quick.begun == [1, 2]


async def test_a_failed_image_is_told_and_the_next_is_made() -> None:
    replica = FakeReplica()
    replica.go.release(2)
    fifo = Fifo([replica])  # type: ignore[list-item]
    async with fifo.running():
        with pytest.raises(EngineError, match="out of memory"):
            await fifo.make(job(0, "fails"))
        assert (await fifo.make(job(1))).made.rgb == b"rgb"
    assert fifo.failure is None


async def test_without_a_replica_nobody_waits_for_ever() -> None:
    replica = FakeReplica()
    fifo = Fifo([replica])  # type: ignore[list-item]
    async with fifo.running():
        waiting = [asyncio.create_task(fifo.make(one)) for one in (job(0, "dies"), job(1))]
        await begun(replica, 1)
        replica.go.release()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, EngineError) for one in results)
        with pytest.raises(EngineError, match="a worker is gone"):
            await fifo.make(job(2))
    assert fifo.failure is not None
