"""The scheduler: a state machine from events to commands. Time is an argument; it does nothing itself.

Events only change the state; planning happens on a Tick, which the scheduler asks for (WakeAt) for the time at which
somebody is pending and a device available, now or later. A Tick comes last among the events of an instant, so their
order never matters.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.commands import Cancel, Command, Complete, Submit, WakeAt
from tetriserve.core.events import (
    Arrived,
    Cancelled,
    ChunkDone,
    ChunkFailed,
    ChunkLost,
    Event,
    Tick,
    WorkersBack,
    WorkersLost,
)
from tetriserve.core.outcome import CANCELLED
from tetriserve.core.request import Request
from tetriserve.core.steps import plain
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.admission import Foresight, forecast, foresee
from tetriserve.scheduler.checks import check_plan
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.interruptions import Interruptions
from tetriserve.scheduler.pace import Pace
from tetriserve.scheduler.pending import PendingRequests
from tetriserve.scheduler.timeline import INFINITY, Flight, Timeline
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
        self._pace = Pace(num_devices)
        self._interruptions = Interruptions()
        self._undecoded: list[TrackedRequest] = []
        self._wish_s: float | None = None
        self._memory: Any = None
        self._next_chunk_id = 0
        self._soon_s = self._config.ahead_s + TOLERANCE_S
        self._wake_s: float | None = None

    @property
    def num_unfinished(self) -> int:
        """Requests that arrived and have not been completed."""
        return len(self._requests)

    @property
    def lost_devices(self) -> tuple[int, ...]:
        """Devices that can't be planned with now."""
        return self._timeline.lost

    @property
    def slow_devices(self) -> dict[int, float]:
        """Devices that have long been slower than the profile says, and how many times."""
        return self._pace.slow

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
            case ChunkLost():
                done = self._lose(event, now_s)
            case WorkersLost(devices):
                self._timeline.lose(devices)
                for tracked in self._requests.values():
                    tracked.acquit(devices)
                self._take_again(self._interruptions.on(devices))
                self._plan_anew()
                done = []
            case WorkersBack(devices):
                self._timeline.restore(devices, now_s)
                self._pace.forget(devices)
                self._plan_anew()
                done = []
        if self._wake_s is not None and self._wake_s <= now_s:  # a Tick is due already: nothing to ask for
            return tuple(done)
        ask = self._ask_for_tick(self._next_look_s(now_s))
        return (*done, *ask) if done else ask

    def foresee(self, newcomers: Sequence[Request], now_s: float, coming: Sequence[Request] = ()) -> Foresight:
        """Whether requests could be met, by a forecast over all that have arrived or are `coming`. Changes nothing."""
        return foresee(self._view(now_s), newcomers, coming)

    def flight_s(self, chunk_id: int) -> tuple[float, float]:
        """Predicted start and end of a chunk in flight, as of the last event."""
        return self._timeline.flight_s(chunk_id)

    def predicted_ends_s(self, now_s: float) -> dict[str, float]:
        """When the images of the unfinished are predicted to be there, if there are devices. Changes nothing."""
        flying = [id_ for id_, tracked in self._requests.items() if tracked.in_flight]
        ends_s = {id_: self._timeline.ready_s(id_) for id_ in flying} | forecast(self._view(now_s))
        return {id_: end_s for id_, end_s in ends_s.items() if end_s < INFINITY}

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
        """A chunk ended."""
        flight = self._land(event.chunk_id, event.finished_s)
        chunk = flight.chunk
        if isinstance(event, ChunkDone) and chunk.stage is Stage.DENOISE:
            self._pace.observe(chunk.devices, event.finished_s - event.started_s, flight.profile_s)
        commands: list[Command] = []
        for request_id in chunk.request_ids:
            tracked = self._requests[request_id]
            if isinstance(event, ChunkFailed) and request_id in event.failed_ids and tracked.error is None:
                tracked.error = (event.code, event.message)
                self._pending.remove(tracked)
            tracked.end(chunk, event.started_s, event.finished_s)
            if tracked.in_flight == 0 and (tracked.error is not None or chunk.stage is Stage.DECODE):
                commands.append(self._complete(tracked, event.finished_s))
            else:
                self._go_on(tracked)
        return commands

    def _lose(self, event: ChunkLost, now_s: float) -> list[Command]:
        """A chunk came to nothing: its requests go back to where they were, except who breaks whatever it runs on."""
        chunk = self._land(event.chunk_id, now_s).chunk
        commands: list[Command] = []
        for request_id in chunk.request_ids:
            tracked = self._requests[request_id]
            self._pending.remove(tracked)
            tracked.lose(chunk, event.suspect, event.apart)
            if tracked.error is None and tracked.breaks_devices(self._config.max_losses):
                tracked.error = ("worker_lost", f"lost {tracked.losses} times in a row while it ran: {event.message}")
            if tracked.in_flight == 0 and tracked.error is not None:
                commands.append(self._complete(tracked, now_s))
            else:
                self._go_on(tracked)
        return commands

    def _land(self, chunk_id: int, now_s: float) -> Flight:
        flight = self._timeline.end(chunk_id, now_s)
        assert flight is not None, f"chunk {chunk_id} was never submitted, or has ended before"
        return flight

    def _go_on(self, tracked: TrackedRequest) -> None:
        """One of its chunks has ended: when that was the last in flight it waits for the next plan."""
        if tracked.in_flight:
            return
        if tracked.rolls_back:
            self._roll_back(tracked)
            if tracked.remaining_steps:
                self._pending.add(tracked)
            else:
                self._undecoded.append(tracked)
        else:
            self._pending.wait(tracked)

    def _roll_back(self, tracked: TrackedRequest) -> None:
        tracked.roll_back()
        self._interruptions.note(tracked)

    def _take_again(self, request_ids: Iterable[str]) -> None:
        """Devices are lost, and with them what they had of these requests' steps. What is in flight ends as lost."""
        for tracked in [self._requests[request_id] for request_id in request_ids]:
            if tracked.in_flight == 0:
                self._pending.remove(tracked)
                self._roll_back(tracked)
                self._pending.add(tracked)

    def _plan_anew(self) -> None:
        """There are other devices than before: what the policy remembers is worth nothing."""
        self._memory = self._wish_s = None

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
        self._undecoded = [other for other in self._undecoded if other is not tracked]
        self._timeline.forget((tracked.request.request_id,))
        self._interruptions.forget(tracked.request.request_id)
        return Complete(tracked.outcome(finished_s))

    def _plan(self, now_s: float) -> tuple[Command, ...]:
        self._wake_s = None
        decodes = self._decode_again(now_s)
        look_s = self._next_look_s(now_s)
        if look_s is None or look_s > now_s:
            return decodes + self._ask_for_tick(look_s)
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
        assert wake_s is not None or self._pending.is_empty or self._timeline.busy or self._timeline.lost, (
            f"policy {getattr(self._policy, 'name', self._policy)} lets everybody wait forever"
        )
        return decodes + submit + self._ask_for_tick(wake_s)

    def _decode_again(self, now_s: float) -> tuple[Command, ...]:
        """Requests that have lost their decoding have no steps left to plan: it goes where it can begin first."""
        chunks: list[Chunk] = []
        self._timeline.predict(now_s)
        while self._undecoded and not self._timeline.all_lost:
            free_s = self._timeline.free_s(now_s)
            device = free_s.index(min(free_s))
            chunks.append(self._stage(Stage.DECODE, self._undecoded.pop(0), (device,), now_s))
        return (Submit(tuple(chunks)),) if chunks else ()

    def _view(self, now_s: float) -> View:
        self._pending.look(now_s)
        self._timeline.predict(now_s)
        timeline, ahead_s = self._timeline, self._config.ahead_s
        free_s, is_open = timeline.free_s(now_s), timeline.open_devices()
        world = now_s, ahead_s, self._pending, free_s, is_open, self._cost, self._num_devices
        return View(*world, self._pace.mean, self._pace.cautious, self._interruptions.by_device)

    def _commit(self, assignment: Assignment, now_s: float, chunks: list[Chunk]) -> None:
        """Add encodings, the steps, and decodings; of these, all but the steps run on the first device."""
        ids, devices, num_steps = assignment.request_ids, assignment.devices, plain(assignment.num_steps)
        batch = [self._requests[request_id] for request_id in ids]
        for tracked in batch:
            self._pending.fly(tracked)
            if not tracked.encode_committed:
                chunks.append(self._stage(Stage.ENCODE, tracked, devices[:1], now_s))
        first_steps = tuple([plain(tracked.committed_steps) for tracked in batch])
        moved = any(tracked.devices not in ((), devices) for tracked in batch)
        steps = Chunk(self._new_id(), Stage.DENOISE, ids, devices, first_steps, num_steps)
        steps = self._launch(steps, self._cost.chunk_s(steps, batch[0].request.size, moved), now_s)
        for tracked in batch:
            tracked.commit(steps)
            self._interruptions.note(tracked)
        chunks.append(steps)
        for tracked in batch:
            if tracked.remaining_steps == 0:
                self._pending.remove(tracked)
                chunks.append(self._stage(Stage.DECODE, tracked, devices[:1], now_s))

    def _stage(self, stage: Stage, tracked: TrackedRequest, devices: tuple[int, ...], now_s: float) -> Chunk:
        """An encoding or decoding, committed."""
        chunk = Chunk(self._new_id(), stage, (tracked.request.request_id,), devices)
        chunk = self._launch(chunk, self._cost.stage_s(stage, tracked.request.size), now_s)
        tracked.commit(chunk)
        return chunk

    def _launch(self, chunk: Chunk, profile_s: float, now_s: float) -> Chunk:
        """Add a chunk to the timeline. Returns it with what it is expected to take, and the time that means hanging."""
        expected_s = profile_s * self._pace.factor(chunk.devices)
        limit_s = self._config.hang_floor_s + self._config.hang_factor * expected_s
        chunk = chunk._replace(expected_s=expected_s, limit_s=limit_s)
        self._timeline.add(chunk, expected_s, profile_s, now_s)
        return chunk

    def _new_id(self) -> int:
        self._next_chunk_id += 1
        return self._next_chunk_id - 1

    def _next_look_s(self, now_s: float) -> float | None:
        """When to plan: now, if somebody is pending and a device available, or as soon as one is."""
        if self._undecoded and not self._timeline.all_lost:
            return now_s
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
