"""Turns chunks into commands for ranks and reports into events. Owns everything known about requests in flight."""

import threading
from collections.abc import Callable, Sequence

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError, TetriServeError
from tetriserve.core.events import Event, WorkersLost
from tetriserve.core.image import Image
from tetriserve.core.request import Request
from tetriserve.engine.batch import check_work, newest, without_void
from tetriserve.engine.ledger import Ledger
from tetriserve.engine.messages import (
    Cancel,
    Command,
    Decode,
    Denoise,
    Encode,
    Finished,
    Picture,
    Receive,
    Release,
    Send,
)
from tetriserve.engine.placement import HandOver, Placement, Work
from tetriserve.engine.workers import Workers


class Dispatcher:
    """Shared by the threads that submit and the one that listens. Without workers, chunks wait in a backlog.

    `on_event` is called on the listening thread, one event at a time, never with the lock held.
    """

    def __init__(self, num_devices: int, on_event: Callable[[Event], None]) -> None:
        self._num_devices = num_devices
        self._on_event = on_event
        self._lock = threading.Lock()
        self._workers: Workers | None = None
        self._backlog: list[Work] = []
        self._placement = Placement()
        self._ledger = Ledger()
        self._images: dict[str, Image] = {}
        self._previews: dict[str, Image] = {}
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._cancelled: set[str] = set()
        self._num_losses = 0
        self._was_ready = False
        self.failed: TetriServeError | None = None

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue chunks. Raises EngineError if they can't be run as they are, or if nothing can be run any more."""
        for chunk, requests in batch:
            check_work(chunk, requests, self._num_devices)
        with self._lock:
            if self.failed is not None:
                raise self.failed
            if self._workers is None:
                self._backlog.extend(batch)
                return
            runnable = without_void(batch, self._placement)
            if len(runnable) < len(batch) and self._num_losses == 0:
                raise EngineError("a chunk of a request that has not been encoded")
            self._dispatch(self._workers, runnable)

    def cancel(self, request_id: str) -> None:
        """Let no chunk of the request alone begin any more."""
        with self._lock:
            waiting = any(request_id in chunk.request_ids for chunk, _ in self._backlog)
            if not waiting and not self._placement.knows((request_id,)):
                return
            self._cancelled.add(request_id)
            if self._workers is not None:
                self._tell_all(self._workers, Cancel(request_id))

    def release(self, request_id: str) -> None:
        """Forget a request everywhere."""
        with self._lock:
            self._cancelled.discard(request_id)
            self._placement.forget(request_id)
            self._ledger.release(request_id)
            self._images.pop(request_id, None)
            self._previews.pop(request_id, None)
            self._warnings.pop(request_id, None)
            self._backlog = [work for work in self._backlog if request_id not in work[0].request_ids]
            if self._workers is not None:
                self._tell_all(self._workers, Release(request_id))

    def take_image(self, request_id: str) -> Image:
        """Raises KeyError if the request has no image (any more)."""
        with self._lock:
            return self._images.pop(request_id)

    def take_preview(self, request_id: str) -> Image | None:
        """The newest picture of an unfinished image, once."""
        with self._lock:
            return self._previews.pop(request_id, None)

    def attach(self, workers: Workers) -> None:
        """Workers are ready: give them what has waited."""
        with self._lock:
            self._workers = workers
            self._was_ready = True
            for request_id in self._cancelled:
                self._tell_all(workers, Cancel(request_id))
            batch, self._backlog = newest(self._backlog), []
            self._dispatch(workers, without_void(batch, self._placement))

    def report(self, rank: int, report: Finished) -> None:
        """A rank has done its part of a chunk."""
        with self._lock:
            chunk = self._ledger.chunk(report.chunk_id)
            events = self._ledger.report(rank, report)
            if chunk.stage is Stage.ENCODE:
                self._warnings[chunk.request_ids[0]] = report.warnings
            if report.picture is not None and not self._ledger.has_failed(chunk.request_ids[0]):
                self._store(chunk.request_ids[0], report.picture)
            for preview in report.previews:
                self._previews[preview.request_id] = _image(preview.picture)
        for event in events:
            self._on_event(event)

    def detach(self) -> None:
        """No more commands to these workers, which are about to be ended."""
        with self._lock:
            self._workers = None

    def lose(self, message: str) -> None:
        """The workers are gone, and with them every tensor: all chunks in flight are void."""
        with self._lock:
            self._workers = None
            self._placement = Placement()
            self._ledger = Ledger()
            self._num_losses += 1
        self._on_event(WorkersLost(tuple(range(self._num_devices)), message))

    def give_up(self, error: TetriServeError) -> None:
        """There will be no more workers. Whoever started this hears of it from `start`, later callers from an event."""
        with self._lock:
            self.failed = error
            self._backlog.clear()
        if self._was_ready:
            self._on_event(WorkersLost(tuple(range(self._num_devices)), str(error)))

    def _dispatch(self, workers: Workers, batch: Sequence[Work]) -> None:
        for entry in self._placement.order(batch):
            if isinstance(entry, HandOver):
                _send_handover(workers, entry)
            else:
                chunk, requests = entry
                self._ledger.open(chunk)
                command = _command(chunk, requests)
                for rank in chunk.devices:
                    workers.send(rank, command)

    def _tell_all(self, workers: Workers, command: Command) -> None:
        for rank in range(self._num_devices):
            workers.send(rank, command)

    def _store(self, request_id: str, picture: Picture) -> None:
        self._images[request_id] = _image(picture, self._warnings.get(request_id, ()))


def _image(picture: Picture, warnings: tuple[str, ...] = ()) -> Image:
    return Image(picture.width, picture.height, picture.rgb, warnings)


def _send_handover(workers: Workers, entry: HandOver) -> None:
    request, full = entry.request, entry.with_conditioning
    workers.send(entry.source, Send(request, entry.target, full))
    workers.send(entry.target, Receive(request, entry.source, full))


def _command(chunk: Chunk, requests: tuple[Request, ...]) -> Command:
    match chunk.stage:
        case Stage.ENCODE:
            return Encode(chunk.chunk_id, requests[0])
        case Stage.DENOISE:
            return Denoise(chunk.chunk_id, requests, chunk.devices, chunk.first_steps, chunk.num_steps)
        case Stage.DECODE:
            return Decode(chunk.chunk_id, requests[0])
