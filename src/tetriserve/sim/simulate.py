"""One workload, one policy, one seed: the whole life of a server in virtual time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

from tetriserve.core.chunk import Chunk
from tetriserve.core.commands import Complete, Submit, WakeAt
from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.events import Arrived, ChunkDone, ChunkFailed, Event, Tick
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults, SimulatedExecutor


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """Settings beside the policy. `noise_cv` is the coefficient of variation of one step's time."""

    noise_cv: float = 0.0
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)


@dataclass(frozen=True, slots=True)
class ExecutedChunk:
    """A chunk and the virtual time it took."""

    chunk: Chunk
    started_s: float
    finished_s: float


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What happened. Equal for equal seeds, save `decision_ms`, the real time of each planning decision.

    `outcomes` and `chunks` are in order of their end. `gpu_utilization` is the share of device-seconds worked,
    from the first arrival to the last end.
    """

    outcomes: tuple[Outcome, ...]
    chunks: tuple[ExecutedChunk, ...]
    gpu_utilization: float
    end_s: float
    decision_ms: tuple[float, ...] = field(compare=False, repr=False)


def simulate(
    cost: CostModel,
    requests: Sequence[Request],
    policy: str,
    num_devices: int,
    seed: int = 0,
    config: SimulationConfig | None = None,
) -> SimulationResult:
    """Run all requests to their end. Raises ConfigurationError for a policy that doesn't fit the machine."""
    config = config or SimulationConfig()
    chosen = make_policy(policy, cost, num_devices, config.scheduler)
    simulation = Simulation(
        cost, num_devices, Scheduler(chosen, cost, num_devices, config.scheduler), Faults(config.noise_cv, seed)
    )
    return simulation.run(requests)


class Simulation:
    """Carries events to the scheduler and its commands to the executor. For one run.

    `clock` and `executor` are open to whoever wants to add calls or to let workers die at some time.
    """

    def __init__(
        self, cost: CostModel, num_devices: int, scheduler: Scheduler, faults: Faults, clock: VirtualClock | None = None
    ) -> None:
        self.clock = clock or VirtualClock()
        self.executor = SimulatedExecutor(cost, num_devices, self.clock, self._on, faults)
        self._scheduler = scheduler
        self._requests: dict[str, Request] = {}
        self._submitted: dict[int, Chunk] = {}
        self._wake_s: float | None = None
        self._outcomes: list[Outcome] = []
        self._chunks: list[ExecutedChunk] = []
        self._decision_ms: list[float] = []

    def run(self, requests: Sequence[Request]) -> SimulationResult:
        """Let all requests arrive, and run until nothing is left to do."""
        for request in requests:
            if request.request_id in self._requests:
                raise InvalidRequestError(f"request_id {request.request_id!r} occurs twice", "request_id")
            self._requests[request.request_id] = request
            self.clock.call_at(request.arrival_s, Arrived.rank, partial(self._on, Arrived(request)))
        self.clock.run()
        assert self._scheduler.num_unfinished == 0, "the simulation ended before its requests"
        begin_s = min((request.arrival_s for request in requests), default=0.0)
        end_s = max((outcome.finished_s for outcome in self._outcomes), default=0.0)
        device_s = (end_s - begin_s) * self.executor.num_devices
        return SimulationResult(
            outcomes=tuple(self._outcomes),
            chunks=tuple(self._chunks),
            gpu_utilization=self.executor.busy_device_s / device_s if device_s > 0 else 0.0,
            end_s=end_s,
            decision_ms=tuple(self._decision_ms),
        )

    def _on(self, event: Event) -> None:
        if isinstance(event, ChunkDone | ChunkFailed):
            chunk = self._submitted.pop(event.chunk_id)
            self._chunks.append(ExecutedChunk(chunk, event.started_s, event.finished_s))
        begin = perf_counter()
        commands = self._scheduler.on(event, self.clock.now_s())
        if isinstance(event, Tick):
            self._decision_ms.append((perf_counter() - begin) * 1e3)
        for command in commands:
            match command:
                case Submit(chunks):
                    self._submit(chunks)
                case WakeAt(at_s):
                    self._wake_s = at_s
                    self.clock.call_at(at_s, Tick.rank, partial(self._tick, at_s))
                case Complete(outcome):
                    self.executor.release(outcome.request.request_id)
                    self._outcomes.append(outcome)

    def _submit(self, chunks: tuple[Chunk, ...]) -> None:
        self._submitted.update((chunk.chunk_id, chunk) for chunk in chunks)
        self.executor.submit([(chunk, tuple([self._requests[id_] for id_ in chunk.request_ids])) for chunk in chunks])

    def _tick(self, at_s: float) -> None:
        """Tick, unless a later WakeAt replaced the one that asked for this."""
        if self._wake_s == at_s:
            self._wake_s = None
            self._on(Tick())
