"""The scheduler: a state machine from events to commands. Time is an argument; it does nothing itself.

Events only change the state; planning happens on a Tick, which the scheduler asks for (WakeAt) for the time at which
somebody is pending and a device available, now or later. A Tick comes last among the events of an instant, so their
order never matters.
"""

from collections.abc import Sequence
from typing import Any

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.commands import Cancel, Command, Complete, Submit, WakeAt
from tetriserve.core.events import Arrived, Cancelled, ChunkDone, ChunkFailed, Event, Tick, WorkersLost
from tetriserve.core.outcome import CANCELLED
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.admission import Foresight, forecast, foresee
from tetriserve.scheduler.checks import check_plan
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.pending import PendingRequests
from tetriserve.scheduler.timeline import INFINITY, Timeline
from tetriserve.scheduler.tracker import TrackedRequest
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, Policy, View


class Scheduler:
    """Tracks requests and devices, asks the policy, and turns its plans into chunks of all three stages.

    The same events at the same times give the same commands. Source: TetriServe §3; differs: chunks are
    committed `ahead_s` before their devices are free.
    """

    def __init__(
        self, policy: Policy, cost: CostModel, num_devices: int, config: SchedulerConfig | None = None
    ) -> None:
        self._policy = policy
        self._cost = cost
        self._num_devices = num_devices
        self._config = config or SchedulerConfig()
        self._timeline = Timeline(num_devices)
        self._requests: dict[str, TrackedRequest] = {}
        self._pending = PendingRequests(cost, self._timeline)
        self._wish_s: float | None = None
        self._memory: Any = None
        self._next_chunk_id = 0
        self._soon_s = self._config.ahead_s + TOLERANCE_S
        self._wake_s: float | None = None

    @property
    def num_unfinished(self) -> int:
        """Requests that arrived and have not been completed."""
        return len(self._requests)

    def on(self, event: Event, now_s: float) -> tuple[Command, ...]:
        """Take one event in. Raises AssertionError if the policy or the caller breaks the contract."""
        match event:
            case Tick():
                return self._plan(now_s)
            case ChunkDone() | ChunkFailed():
                done = self._end(event)
            case Arrived(request):
                assert request.request_id not in self._requests, f"{request.request_id} arrived twice"
                self._arrive(TrackedRequest(request, *self._stage_s(request.size)))
                done = []
            case Cancelled(request_id):
                done = self._cancel(request_id, now_s)
            case WorkersLost(message=message):
                done = self._restart_all(message, now_s)
        ask = self._ask_for_tick(self._next_look_s(now_s))
        return (*done, *ask) if done else ask

    def foresee(self, newcomers: Sequence[Request], now_s: float) -> Foresight:
        """Whether requests that have not arrived could be met, by a forecast over all that have. Changes nothing."""
        return foresee(self._view(now_s), newcomers)

    def flight_s(self, chunk_id: int) -> tuple[float, float]:
        """Predicted start and end of a chunk in flight, as of the last event."""
        return self._timeline.flight_s(chunk_id)

    def predicted_ends_s(self, now_s: float) -> dict[str, float]:
        """When the images of the unfinished are predicted to be there. Changes nothing."""
        flying = [id_ for id_, tracked in self._requests.items() if tracked.in_flight]
        return {id_: self._timeline.ready_s(id_) for id_ in flying} | forecast(self._view(now_s))

    def _stage_s(self, size: Any) -> tuple[float, float]:
        return self._cost.stage_s(Stage.ENCODE, size), self._cost.stage_s(Stage.DECODE, size)

    def _arrive(self, tracked: TrackedRequest) -> None:
        self._requests[tracked.request.request_id] = tracked
        self._pending.add(tracked)

    def _ask_for_tick(self, at_s: float | None) -> tuple[Command, ...]:
        if at_s is None or (self._wake_s is not None and self._wake_s <= at_s):
            return ()
        self._wake_s = at_s
        return (WakeAt(at_s),)

    def _end(self, event: ChunkDone | ChunkFailed) -> list[Command]:
        """A chunk ended. Events of chunks voided by a loss of workers are ignored."""
        chunk = self._timeline.end(event.chunk_id, event.finished_s)
        if chunk is None:
            assert event.chunk_id < self._next_chunk_id, f"chunk {event.chunk_id} was never submitted"
            return []
        commands: list[Command] = []
        for request_id in chunk.request_ids:
            tracked = self._requests[request_id]
            if isinstance(event, ChunkFailed) and request_id in event.failed_ids and tracked.error is None:
                tracked.error = (event.code, event.message)
                self._pending.remove(tracked)
            tracked.end(chunk, event.started_s, event.finished_s)
            if tracked.in_flight:
                continue
            if tracked.error is not None or chunk.stage is Stage.DECODE:
                commands.append(self._complete(tracked, event.finished_s))
            else:
                self._pending.wait(tracked)
        return commands

    def _cancel(self, request_id: str, now_s: float) -> list[Command]:
        """Nothing further is planned for it; what has not started is void; it ends with its running chunk."""
        tracked = self._requests.get(request_id)
        if tracked is None or tracked.error is not None:
            return []
        tracked.error = (CANCELLED, "cancelled by the caller")
        self._pending.remove(tracked)
        if tracked.in_flight == 0:
            return [self._complete(tracked, now_s)]
        self._timeline.void(self._is_cancelled, now_s)
        return [Cancel(request_id)]

    def _is_cancelled(self, request_id: str) -> bool:
        tracked = self._requests[request_id]
        return tracked.error is not None and tracked.error[0] == CANCELLED

    def _complete(self, tracked: TrackedRequest, finished_s: float) -> Complete:
        del self._requests[tracked.request.request_id]
        self._timeline.forget((tracked.request.request_id,))
        return Complete(tracked.outcome(finished_s))

    def _restart_all(self, message: str, now_s: float) -> list[Command]:
        """Workers died: everybody unfinished begins again, except who was running in too many losses."""
        self._timeline.predict(now_s)
        flights = self._timeline.clear()
        running = {id_ for flight in flights if flight.start_s <= now_s for id_ in flight.chunk.request_ids}
        self._timeline.forget(self._requests)
        self._memory = self._wish_s = None
        self._pending.clear()
        commands: list[Command] = []
        for tracked in tuple(self._requests.values()):
            tracked.losses += tracked.request.request_id in running
            if tracked.error is None and tracked.losses >= self._config.max_losses:
                tracked.error = ("worker_lost", f"workers died {tracked.losses} times while it ran: {message}")
            if tracked.error is not None:
                commands.append(self._complete(tracked, now_s))
            else:
                tracked.restart()
                self._arrive(tracked)
        return commands

    def _plan(self, now_s: float) -> tuple[Command, ...]:
        self._wake_s = None
        look_s = self._next_look_s(now_s)
        if look_s is None or look_s > now_s:
            return self._ask_for_tick(look_s)
        view = self._view(now_s)
        plan, self._memory = self._policy(view, self._memory)
        self._wish_s = plan.wake_s
        try:
            check_plan(plan, view)
        except AssertionError as error:
            error.add_note(f"planned by policy {getattr(self._policy, 'name', self._policy)}")
            raise
        chunks: list[Chunk] = []
        for assignment in plan.assignments:
            self._commit(assignment, now_s, chunks)
        submit: tuple[Command, ...] = (Submit(tuple(chunks)),) if chunks else ()
        wake_s = self._next_free_s(now_s)
        assert wake_s is not None or self._pending.is_empty or self._timeline.busy, (
            f"policy {getattr(self._policy, 'name', self._policy)} lets everybody wait forever"
        )
        return submit + self._ask_for_tick(wake_s)

    def _view(self, now_s: float) -> View:
        self._pending.look(now_s)
        timeline, ahead_s = self._timeline, self._config.ahead_s
        free_s, is_open = timeline.free_s(now_s), timeline.open_devices()
        return View(now_s, ahead_s, self._pending, free_s, is_open, self._cost, self._num_devices)

    def _commit(self, assignment: Assignment, now_s: float, chunks: list[Chunk]) -> None:
        """Add encodings, the steps, and decodings; of these, all but the steps run on the first device."""
        ids, devices, num_steps = assignment
        batch = [self._requests[request_id] for request_id in ids]
        for tracked in batch:
            self._pending.fly(tracked)
            if not tracked.encode_committed:
                chunks.append(self._stage(Stage.ENCODE, tracked, devices[:1], now_s))
        first_steps = tuple([tracked.committed_steps for tracked in batch])
        steps = Chunk(self._new_id(), Stage.DENOISE, ids, devices, first_steps, num_steps)
        moved = False
        for tracked in batch:
            moved |= tracked.devices not in ((), devices)
            tracked.commit(steps)
        self._timeline.add(steps, self._cost.chunk_s(steps, batch[0].request.size, moved), now_s)
        chunks.append(steps)
        for tracked in batch:
            if tracked.remaining_steps == 0:
                self._pending.remove(tracked)
                chunks.append(self._stage(Stage.DECODE, tracked, devices[:1], now_s))

    def _stage(self, stage: Stage, tracked: TrackedRequest, devices: tuple[int, ...], now_s: float) -> Chunk:
        """An encoding or decoding, committed."""
        chunk = Chunk(self._new_id(), stage, (tracked.request.request_id,), devices)
        tracked.commit(chunk)
        self._timeline.add(chunk, self._cost.stage_s(stage, tracked.request.size), now_s)
        return chunk

    def _new_id(self) -> int:
        self._next_chunk_id += 1
        return self._next_chunk_id - 1

    def _next_look_s(self, now_s: float) -> float | None:
        """When to plan: now, if somebody is pending and a device available, or as soon as one is."""
        if self._pending.is_empty:
            return None
        self._timeline.predict(now_s)
        first_s = self._timeline.next_free_s()
        return now_s if first_s <= now_s + self._soon_s else self._or_wish(first_s, now_s)

    def _next_free_s(self, now_s: float) -> float | None:
        """When to plan after a plan: who was free for that one does not count."""
        if self._pending.is_empty:
            return None
        return self._or_wish(self._timeline.next_free_s(now_s + self._soon_s), now_s)

    def _or_wish(self, free_s: float, now_s: float) -> float | None:
        """`ahead_s` before a device is free, or at the policy's wish; None if neither will be."""
        next_s = free_s - self._config.ahead_s
        if self._wish_s is not None:
            next_s = min(next_s, max(self._wish_s, now_s))
        return next_s if next_s < INFINITY else None
