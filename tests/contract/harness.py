"""What a contract test needs of an executor, whichever it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scheduler.builders import make_cost
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkDone, ChunkFailed, Event, WorkersLost
from tetriserve.core.executor import Executor
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults, SimulatedExecutor

FAILING_ID = "fails"
"""A request with this id cannot go on after its first DENOISE chunk."""

End = ChunkDone | ChunkFailed


@dataclass
class Harness:
    """An executor under test. `settle` returns when nothing is in flight; `events` has what came until then."""

    executor: Executor
    settle: Callable[[], None]
    lose_device: Callable[[int], None]
    size: Size
    events: list[Event] = field(default_factory=list)
    next_chunk_id: int = 0

    def chunk(self, stage: Stage, ids: tuple[str, ...], devices: tuple[int, ...], steps: range = range(0)) -> Chunk:
        """The next chunk, in the global order."""
        self.next_chunk_id += 1
        first = (steps.start,) * len(ids) if stage is Stage.DENOISE else ()
        return Chunk(self.next_chunk_id - 1, stage, ids, devices, first, len(steps))

    def image(self, request_id: str, *parts: tuple[tuple[int, ...], int]) -> list[Chunk]:
        """All chunks of an image whose steps are split into parts of (devices, number of steps)."""
        chunks = [self.chunk(Stage.ENCODE, (request_id,), parts[0][0][:1])]
        at = 0
        for devices, num_steps in parts:
            chunks.append(self.chunk(Stage.DENOISE, (request_id,), devices, range(at, at + num_steps)))
            at += num_steps
        return [*chunks, self.chunk(Stage.DECODE, (request_id,), parts[-1][0][:1])]

    def submit(self, *chunks: Chunk) -> None:
        """Hand chunks over together; every request has four steps in all."""
        self.executor.submit([(chunk, tuple(self._request(id_) for id_ in chunk.request_ids)) for chunk in chunks])

    def ends(self) -> dict[int, End]:
        """The end of each chunk. Fails if one ended twice."""
        ends = [event for event in self.events if isinstance(event, End)]
        assert len({end.chunk_id for end in ends}) == len(ends)
        return {end.chunk_id: end for end in ends}

    def losses(self) -> list[WorkersLost]:
        """The losses so far."""
        return [event for event in self.events if isinstance(event, WorkersLost)]

    def _request(self, request_id: str) -> Request:
        return Request(request_id, "a red apple", self.size, 4, 3.5, 1, 0.0, 60.0)


@contextmanager
def simulated(num_devices: int) -> Iterator[Harness]:
    """Devices of the cost model on a virtual clock."""
    clock, events = VirtualClock(), []
    faults = Faults(failing_ids=(FAILING_ID,))
    cost = make_cost(num_devices, 0.01, 0.02, 0.001)
    executor = SimulatedExecutor(cost, num_devices, clock, events.append, faults)
    yield Harness(executor, clock.run, lambda device: executor.lose_workers((device,)), Size(256, 256), events)


# The executor with real workers joins here: a context manager of the same shape, with its name in EXECUTORS.
EXECUTORS = {"simulated": simulated}
