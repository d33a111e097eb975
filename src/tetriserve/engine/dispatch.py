"""Turns chunks into commands for ranks and reports into events. Owns everything known about requests in flight."""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError, TetriServeError
from tetriserve.core.events import ChunkDone, ChunkLost, News, StepDone, WorkersBack, WorkersLost
from tetriserve.core.image import Image
from tetriserve.core.progress import Progress
from tetriserve.engine.batch import check_work
from tetriserve.engine.ledger import Ended, Ledger
from tetriserve.engine.messages import (
    Cancel,
    Command,
    Decode,
    Denoise,
    Discard,
    Encode,
    Finished,
    Picture,
    Receive,
    Regroup,
    Release,
    Restore,
    Send,
    Stepped,
)
from tetriserve.engine.placement import AtHand, HandOver, Placed, Placement, Revival, Work
from tetriserve.engine.transport import Transport

STALE = "planned before a loss was known"


class Dispatcher:
    """Shared by the threads that submit and the one that supervises.

    The lock makes the one global order: who sends, sends under it. `on_event` is called in `deliver` alone, one event
    at a time, without the lock.
    """

    def __init__(
        self, num_devices: int, transport: Transport, on_event: Callable[[News], None], can_abort: bool = True
    ) -> None:
        self._num_devices = num_devices
        self._transport = transport
        self._on_event = on_event
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._missed: set[int] = set()
        self._epoch = 0
        self._placement = Placement()
        self._progress = Progress()
        self._ledger = Ledger(can_abort)
        self._kept: dict[str, bytes] = {}
        self._images: dict[str, Image] = {}
        self._previews: dict[str, Image] = {}
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._events: deque[News] = deque()
        self._was_ready = False
        self.failed: TetriServeError | None = None

    # --- for whoever drives the executor ------------------------------------------------------------------------------

    def submit(self, batch: Sequence[Work]) -> None:
        """Queue chunks. Raises EngineError if they can't be run as they are, or if nothing can be run any more."""
        for chunk, requests in batch:
            check_work(chunk, requests, self._num_devices)
        with self._lock:
            if self.failed is not None:
                raise self.failed
            self._check_encoded(batch)
            accepted = [work for work in batch if self._accept(work)]
            for entry in self._placement.order(accepted, self._at_hand()):
                self._dispatch(entry)

    def cancel(self, request_id: str) -> None:
        """Let no chunk of the request alone begin any more."""
        with self._lock:
            if self._placement.knows((request_id,)):
                self._tell(self._live, Cancel(request_id))

    def release(self, request_id: str) -> None:
        """Forget a request everywhere."""
        with self._lock:
            self._placement.forget(request_id)
            self._progress.forget(request_id)
            self._ledger.release(request_id)
            for known in (self._kept, self._images, self._previews, self._warnings):
                known.pop(request_id, None)
            self._tell(self._live, Release(request_id))

    def take_image(self, request_id: str) -> Image:
        """Raises KeyError if the request has no image (any more)."""
        with self._lock:
            return self._images.pop(request_id)

    def take_preview(self, request_id: str) -> Image | None:
        """The newest picture of an unfinished image, once."""
        with self._lock:
            return self._previews.pop(request_id, None)

    # --- for the supervisor -------------------------------------------------------------------------------------------

    def report(self, rank: int, report: Finished) -> None:
        """A rank has done its part of a chunk."""
        with self._lock:
            chunk = self._ledger.find(report.chunk_id)
            if chunk is not None:
                self._take_pictures(chunk, report)
            self._settle(self._ledger.report(rank, report, time.monotonic()))

    def step(self, report: Stepped) -> None:
        """Some steps of a chunk are done. Of one that is lost by now nobody hears."""
        with self._lock:
            if self._ledger.find(report.chunk_id) is not None:
                self._events.append(StepDone(report.chunk_id, report.num_steps))

    def order(self, ranks: Collection[int], command: Regroup) -> None:
        """Give a command its place in the global order of some ranks."""
        with self._lock:
            self._epoch = command.epoch
            self._tell(ranks, command)

    def join(self, newcomers: Collection[int], epoch: int) -> None:
        """The groups of an epoch are made, or will not be; newcomers can be used from now on."""
        with self._lock:
            self._live |= set(newcomers)
            self._ledger.join(epoch, time.monotonic())
            back = sorted(self._missed.intersection(newcomers))
            self._missed.difference_update(back)
            if back:
                self._events.append(WorkersBack(tuple(back)))
            self._was_ready = True

    def lose(self, ranks: Collection[int], message: str) -> list[tuple[int, ...]]:
        """Ranks are gone. Returns the blocks in whose exchanges they may have been."""
        with self._lock:
            gone = sorted(self._live.intersection(ranks))
            if not gone:
                return []
            self._live.difference_update(gone)
            self._missed.update(gone)
            self._rewind(self._progress.within_step() & self._placement.held_by(gone))
            self._placement.lose(gone)
            self._events.append(WorkersLost(tuple(gone), message))
            ended = self._ledger.lose(gone, message, time.monotonic())
            blocks = [chunk.devices for chunk in self._settle(ended) if not set(gone).isdisjoint(chunk.devices)]
            return [block for block in blocks if len(block) > 1]

    def entangled(self, ranks: Collection[int]) -> set[int]:
        """Ranks that take part in an exchange with one of these, or with one that does."""
        with self._lock:
            return self._ledger.entangled(ranks)

    def overdue(self) -> tuple[set[int], str] | None:
        """Ranks that have taken too long for a chunk, and which."""
        with self._lock:
            return self._ledger.overdue(time.monotonic())

    def is_idle(self, rank: int, epoch: int) -> bool:
        """Whether a rank has nothing left to do before it comes to the groups of an epoch."""
        with self._lock:
            return self._ledger.is_idle(rank, epoch)

    def give_up(self, error: TetriServeError) -> None:
        """There will be no more workers. Whoever started this hears of it from `start`, later callers from an event."""
        with self._lock:
            self.failed = error
            if self._was_ready:
                self._events.append(WorkersLost(tuple(range(self._num_devices)), str(error)))
        self.deliver()

    def deliver(self) -> None:
        """Tell of everything that has happened."""
        while self._events:
            self._on_event(self._events.popleft())

    # --- under the lock -----------------------------------------------------------------------------------------------

    def _check_encoded(self, batch: Sequence[Work]) -> None:
        encoded: set[str] = set()
        for chunk, _ in batch:
            if chunk.stage is Stage.ENCODE:
                encoded.update(chunk.request_ids)
            unknown = [id_ for id_ in chunk.request_ids if id_ not in encoded and not self._progress.is_lost(id_)]
            if not self._placement.knows(unknown):
                raise EngineError("a chunk of a request that has not been encoded")

    def _accept(self, work: Work) -> bool:
        """Whether a chunk can be done; it is lost if it was planned before a loss was known."""
        chunk, requests = work
        if self._progress.accept(chunk, requests) and self._live.issuperset(chunk.devices):
            return True
        self._settle(self._ledger.refuse(chunk, STALE))
        self._transport.wake()
        return False

    def _at_hand(self) -> AtHand:
        now_s, in_flight = time.monotonic(), self._ledger.in_flight()
        return AtHand(
            busy_s=lambda rank: self._ledger.busy_s(rank, now_s), is_kept=lambda request_id: request_id not in in_flight
        )

    def _dispatch(self, entry: HandOver | Revival | Placed) -> None:
        match entry:
            case HandOver(request, source, target, full):
                self._transport.send(source, Send(request.request_id, target, full))
                self._transport.send(target, Receive(request, source, full))
            case Revival(request, target, anew):
                self._transport.send(target, Restore(request, self._kept.get(request.request_id), anew))
            case Placed(chunk, _, sources):
                self._ledger.open(chunk, time.monotonic(), sources, self._epoch)
                self._tell(chunk.devices, _command(entry))

    def _settle(self, ended: Sequence[Ended]) -> list[Chunk]:
        """Remember what ended chunks have brought, and tell later. Returns what is lost since the last time."""
        doomed = self._ledger.take_doomed()
        for chunk in doomed:
            self._rewind(chunk.request_ids)
            for request_id in chunk.request_ids:
                self._placement.scatter(request_id)
        for one in ended:
            if isinstance(one.event, ChunkDone):
                self._progress.done(one.chunk)
            if not isinstance(one.event, ChunkLost):
                self._kept.update(zip(one.chunk.request_ids, one.latents, strict=False))
            self._events.append(one.event)
        return doomed

    def _rewind(self, request_ids: Collection[str]) -> None:
        """These go on where their last whole step has left them; what ranks have of the next one is of no use."""
        self._progress.lose(request_ids)
        for request_id in request_ids:
            self._tell(self._live, Discard(request_id))

    def _take_pictures(self, chunk: Chunk, report: Finished) -> None:
        request_id = chunk.request_ids[0]
        if report.warnings:
            known = (*self._warnings.get(request_id, ()), *report.warnings)
            self._warnings[request_id] = tuple(dict.fromkeys(known))  # a chunk that was lost is done twice
        if report.picture is not None and not self._ledger.has_failed(request_id):
            self._images[request_id] = _image(report.picture, self._warnings.get(request_id, ()))
        for preview in report.previews:
            self._previews[preview.request_id] = _image(preview.picture)

    def _tell(self, ranks: Collection[int], command: Command) -> None:
        for rank in ranks:
            self._transport.send(rank, command)


def _image(picture: Picture, warnings: tuple[str, ...] = ()) -> Image:
    return Image(picture.width, picture.height, picture.rgb, warnings)


def _command(placed: Placed) -> Command:
    chunk = placed.chunk
    match chunk.stage:
        case Stage.ENCODE:
            return Encode(chunk.chunk_id, placed.requests[0])
        case Stage.DENOISE:
            ids, first_steps = chunk.request_ids, chunk.first_steps
            return Denoise(chunk.chunk_id, ids, chunk.devices, first_steps, chunk.num_steps)
        case Stage.DECODE:
            return Decode(chunk.chunk_id, chunk.request_ids[0])
