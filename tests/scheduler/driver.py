"""A scheduler that tests drive by hand: events in, chunks out."""

from typing import Any

from scheduler.builders import make_cost, make_request, make_scheduler
from tetriserve.core.chunk import Chunk
from tetriserve.core.commands import Cancel, Complete, Submit, WakeAt
from tetriserve.core.events import (
    Arrived,
    ChunkDone,
    ChunkFailed,
    ChunkLost,
    Event,
    Tick,
    WorkersLost,
)
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.scheduler.view import Assignment, Plan, Policy, View


class Driver:
    """Sends events and keeps the chunks that were submitted."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.now_s = 0.0
        self.chunks: list[Chunk] = []
        self.completed = []
        self.cancels: list[str] = []
        self.wakes: list[float] = []

    def send(self, event: Event) -> None:
        for command in self.scheduler.on(event, self.now_s):
            match command:
                case Submit(chunks):
                    self.chunks.extend(chunks)
                case Cancel(request_id):
                    self.cancels.append(request_id)
                case Complete(outcome):
                    self.completed.append(outcome)
                case WakeAt(at_s):
                    self.wakes.append(at_s)

    def arrive(self, *request_ids: str, **wishes: Any) -> None:
        for request_id in request_ids:
            self.send(Arrived(make_request(request_id, arrival_s=self.now_s, **wishes)))
        self.send(Tick())

    def done(self, chunk: Chunk, seconds: float = 1.0) -> None:
        self.now_s += seconds
        self.send(ChunkDone(chunk.chunk_id, self.now_s - seconds, self.now_s))

    def lose(self, devices: tuple[int, ...], *chunks: Chunk) -> None:
        """Devices die, and with them come to nothing some chunks, of which the first was running."""
        if devices:
            self.send(WorkersLost(devices, "exit code 9"))
        for index, chunk in enumerate(chunks):
            self.send(ChunkLost(chunk.chunk_id, "exit code 9", suspect=index == 0))

    def fail(self, chunk: Chunk, *failed: str, code: str = "out_of_memory") -> None:
        self.now_s += 1
        self.send(ChunkFailed(chunk.chunk_id, self.now_s - 1, self.now_s, failed, code, "no memory left"))


def fifo(num_devices: int = 2, **config: float) -> Driver:
    return Driver(make_scheduler("fixed-sp1", make_cost(num_devices), num_devices, SchedulerConfig(**config)))


def steps_policy(num_steps: float, *ids: str) -> Policy:
    """All the named requests that wait, as one batch on device 0."""

    def policy(view: View, memory: None) -> tuple[Plan, None]:
        waiting = tuple(r.request_id for r in view.requests if r.request_id in ids)
        batch = (Assignment(waiting, (0,), num_steps),) if waiting and 0 in view.available() else ()
        return Plan(batch), memory

    return policy
