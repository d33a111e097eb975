"""First come, first served: one queue, and whichever replica is free takes the head of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tetriserve.core.errors import EngineError
from tetriserve.peers.job import Failed, Job, Made
from tetriserve.peers.replica import Replica


@dataclass(frozen=True, slots=True)
class Served:
    """An image, and how long it waited for its replica."""

    made: Made
    queue_s: float
    degree: int


class Fifo:
    """Belongs to the event loop's thread."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self._queue: asyncio.Queue[tuple[Job, float, asyncio.Future[Served]]] = asyncio.Queue()
        self._num_up = len(replicas)
        self.failure: str | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve while the body runs."""
        tasks = [asyncio.create_task(self._serve(replica)) for replica in self._replicas]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    async def make(self, job: Job) -> Served:
        """Wait for one's turn and for the image. Raises EngineError."""
        if self.failure is not None:
            raise EngineError(self.failure)
        future: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((job, time.monotonic(), future))
        return await future

    async def _serve(self, replica: Replica) -> None:
        while True:
            job, asked_s, future = await self._queue.get()
            if future.cancelled():
                continue
            queue_s = time.monotonic() - asked_s
            try:
                made = await asyncio.to_thread(replica.make, job)
            except EngineError as error:
                self._settle(future, error)
                self._lose(str(error))
                return
            if isinstance(made, Failed):
                self._settle(future, EngineError(made.message))
            else:
                self._settle(future, Served(made, queue_s, len(replica.connections)))

    def _lose(self, why: str) -> None:
        """A replica is gone. After the last one nobody is served any more."""
        self._num_up -= 1
        if self._num_up:
            return
        self.failure = why
        while not self._queue.empty():
            self._settle(self._queue.get_nowait()[2], EngineError(why))

    @staticmethod
    def _settle(future: asyncio.Future[Served], result: Served | EngineError) -> None:
        if future.cancelled():
            return
        if isinstance(result, EngineError):
            future.set_exception(result)
        else:
            future.set_result(result)
