"""Drives the scheduler on the wall clock: requests and events in, commands out, images back.

Owns the requests in flight and the one timer. Knows nothing of HTTP and nothing of how chunks are run.
"""

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.commands import Cancel, Command, Complete, Submit, WakeAt
from tetriserve.core.errors import EngineError, RequestCancelledError, RequestFailedError
from tetriserve.core.events import Arrived, Cancelled, ChunkDone, ChunkEnd, Event, News, StepDone, Tick, WorkersLost
from tetriserve.core.executor import Executor
from tetriserve.core.image import Image
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.runtime.recorder import Recorder
from tetriserve.scheduler.scheduler import Scheduler

logger = logging.getLogger(__name__)


class ImageExecutor(Executor, Protocol):
    """An executor that makes pictures, not only events."""

    @property
    def failed(self) -> Exception | None:
        """Why nothing can be run any more, or None."""
        ...

    def take_image(self, request_id: str) -> Image:
        """The decoded image of a request, once."""
        ...

    def take_preview(self, request_id: str) -> Image | None:
        """The newest small picture of a request that is being made, once, if it asked for partial images."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """An image and how it came about."""

    outcome: Outcome
    image: Image


@dataclass(frozen=True, slots=True)
class Progress:
    """A request is being made: so many of its steps are done. `preview` is a small picture, if one was due.

    Each step is told once, in order. Those that are taken again because a worker died are not told again.
    """

    request: Request
    num_steps_done: int
    preview: Image | None


Watcher = Callable[[Progress], None]


@dataclass(slots=True)
class _Watch:
    """Who watches a request, and how many steps they know to be done."""

    request: Request
    watcher: Watcher
    num_steps_told: int = 0

    def tell(self, num_steps_done: int, preview: Image | None) -> None:
        """Tell of every step up to this one; the picture goes with the last."""
        first, self.num_steps_told = self.num_steps_told + 1, num_steps_done
        for step in range(first, num_steps_done):
            self.watcher(Progress(self.request, step, None))
        self.watcher(Progress(self.request, num_steps_done, preview))


class Runtime:
    """Runs requests to their end. All methods belong to the event loop's thread."""

    def __init__(self, scheduler: Scheduler, executor: ImageExecutor) -> None:
        self.scheduler = scheduler
        self.executor = executor
        self.recorder = Recorder(scheduler, self.now_s())
        self._requests: dict[str, Request] = {}
        self._futures: dict[str, asyncio.Future[Result]] = {}
        self._watches: dict[str, _Watch] = {}
        self._steps: dict[int, Chunk] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._ids = itertools.count(1)
        self._failure: str | None = None
        self._slow: frozenset[int] = frozenset()

    @property
    def num_in_flight(self) -> int:
        """Requests accepted and not yet ended."""
        return len(self._futures)

    @property
    def failure(self) -> str | None:
        """Why nothing can be served any more, or None."""
        if self._failure is None and self.executor.failed is not None:
            return str(self.executor.failed)
        return self._failure

    @staticmethod
    def now_s() -> float:
        """The clock that all requests' times are read from."""
        return time.monotonic()

    def new_request_id(self) -> str:
        """An id that this runtime has not given before."""
        return f"img-{next(self._ids)}"

    async def generate(self, request: Request, watcher: Watcher | None = None) -> Result:
        """Run one request; `watcher` is called at the end of each of its steps.

        Whoever cancels the awaiting task cancels the request.

        Raises RequestFailedError if it ends without an image, RequestCancelledError after `cancel`; its siblings
        don't notice.
        """
        if self.failure is not None:
            raise EngineError(self.failure)
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if watcher is not None:
            request = replace(request, is_watched=True)
            self._watches[request.request_id] = _Watch(request, watcher)
        self._requests[request.request_id] = request
        self._futures[request.request_id] = future
        self.handle(Arrived(request))
        try:
            return await future
        except asyncio.CancelledError:
            self.cancel(request.request_id)
            raise

    def cancel(self, request_id: str) -> None:
        """Give a request up: it leaves when its running chunk ends. One that has ended is left alone."""
        if request_id in self._futures:
            self.handle(Cancelled(request_id))

    def handle(self, news: News) -> None:
        """Tell the scheduler what happened and do what it wants. The listener of the mailbox."""
        if self._failure is not None:
            return
        if isinstance(news, StepDone):
            self._tell_steps(self._steps.get(news.chunk_id), news.num_steps)
            return
        self._handle(news)
        # After the scheduler, which must not wait for those who only look on.
        self._tell_progress(news)
        self._warn_of_slow_devices()

    def _handle(self, event: Event) -> None:
        try:
            now_s = self.now_s()
            commands = self.scheduler.on(event, now_s)
            if isinstance(event, Tick):
                self.recorder.decided(self.now_s() - now_s)
            self.recorder.observe(event, commands, now_s)
            for command in commands:
                self._do(command)
        except EngineError as error:
            self.fail(str(error))
        except Exception as error:
            # A broken invariant must not leave callers waiting for ever.
            logger.exception("scheduling failed on %s", type(event).__name__)
            self.fail(f"internal error: {error!r}")

    def fail(self, message: str) -> None:
        """End everything: no further request can be served."""
        self._failure = message
        self.recorder.fail(self.now_s())
        for request_id in tuple(self._futures):
            self._settle(request_id, EngineError(message))

    def _do(self, command: Command) -> None:
        logger.debug("%s", command)
        match command:
            case Submit(chunks):
                self._steps.update((chunk.chunk_id, chunk) for chunk in chunks if chunk.stage is Stage.DENOISE)
                self.executor.submit(
                    [(chunk, tuple(self._requests[request_id] for request_id in chunk.request_ids)) for chunk in chunks]
                )
            case WakeAt(at_s):
                self._wake_at(at_s)
            case Cancel(request_id):
                self.executor.cancel(request_id)
            case Complete(outcome):
                self._complete(outcome)

    def _tell_progress(self, event: Event) -> None:
        if isinstance(event, WorkersLost) and self.executor.failed is not None:
            self.fail(str(self.executor.failed))
        if not isinstance(event, ChunkEnd):
            return
        chunk = self._steps.pop(event.chunk_id, None)
        if chunk is not None and isinstance(event, ChunkDone):
            self._tell_steps(chunk, chunk.num_steps)

    def _tell_steps(self, chunk: Chunk | None, num_steps: float) -> None:
        """So many steps of a chunk are done. A picture comes with the end of a chunk that is news."""
        if chunk is None:
            return
        for request_id, first_step in zip(chunk.request_ids, chunk.first_steps, strict=True):
            watch, num_steps_done = self._watches.get(request_id), math.floor(first_step + num_steps)
            if watch is not None and num_steps_done > watch.num_steps_told:
                ended = num_steps == chunk.num_steps
                watch.tell(num_steps_done, self.executor.take_preview(request_id) if ended else None)

    def _warn_of_slow_devices(self) -> None:
        """Once, when a device is found to be slow."""
        slow = self.scheduler.slow_devices
        if slow.keys() == self._slow:
            return
        for device in slow.keys() - self._slow:
            logger.warning("device %d takes %.1f times as long as profiled; planned with that", device, slow[device])
        self._slow = frozenset(slow)

    def _wake_at(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, at_s - self.now_s())
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.handle, Tick())

    def _complete(self, outcome: Outcome) -> None:
        request_id = outcome.request.request_id
        if outcome.cancelled:
            self._settle(request_id, RequestCancelledError(f"request {request_id} was cancelled"))
        elif outcome.error is not None:
            self._settle(request_id, RequestFailedError(outcome.error, outcome.error_code or "engine_error"))
        else:
            self._settle(request_id, Result(outcome, self.executor.take_image(request_id)))
        self.executor.release(request_id)

    def _settle(self, request_id: str, result: Result | EngineError) -> None:
        del self._requests[request_id]
        self._watches.pop(request_id, None)
        future = self._futures.pop(request_id)
        if future.cancelled():  # the caller has gone away
            return
        if isinstance(result, EngineError):
            future.set_exception(result)
        else:
            future.set_result(result)
