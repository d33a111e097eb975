"""One workload, one policy, one seed: the whole life of a server in virtual time."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import NamedTuple

from tetriserve.core.chunk import Chunk
from tetriserve.core.commands import Command, Complete, Submit, WakeAt
from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.events import Arrived, Cancelled, ChunkEnd, ChunkFailed, ChunkLost, News, StepDone, Tick
from tetriserve.core.outcome import CANCELLED, Outcome
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults, SimulatedExecutor
from tetriserve.sim.failures import schedule_failures

TICK = Tick()


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """Settings beside the policy.

    `noise_cv` is the coefficient of variation of one step's time. `failures_per_hour`: deaths of workers, of
    the whole machine; each is replaced after `recovery_s`.
    """

    noise_cv: float = 0.0
    failures_per_hour: float = 0.0
    recovery_s: float = 10.0
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)

    def __post_init__(self) -> None:
        for name in ("noise_cv", "failures_per_hour", "recovery_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} is {getattr(self, name)}, must be at least 0")


class ExecutedChunk(NamedTuple):
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
    on_complete: Callable[[int], None] | None = None,
    devices: CostModel | None = None,
) -> SimulationResult:
    """Run all requests to their end; `on_complete` is told how many have ended.

    Chunks take what `devices` says, if that differs from what the scheduler is told.

    Raises ConfigurationError for a machine that can't be, a policy that doesn't fit it, or one that breaks a rule.
    """
    config = config or SimulationConfig()
    check_num_devices(num_devices)
    chosen = make_policy(policy, cost, num_devices, config.scheduler)
    scheduler = Scheduler(chosen, cost, num_devices, config.scheduler)
    faults = Faults(config.noise_cv, seed, recovery_s=config.recovery_s)
    simulation = Simulation(devices or cost, num_devices, scheduler, faults, on_complete=on_complete)
    schedule_failures(simulation, config.failures_per_hour, seed)
    try:
        return simulation.run(requests)
    except AssertionError as error:
        message = f"policy {policy!r} broke a rule at {simulation.clock.now_s():.3f} s: {error}"
        raise ConfigurationError(message) from error


def check_num_devices(num_devices: int) -> None:
    """Raises ConfigurationError unless it is a power of two: blocks of all devices are one degree of parallelism."""
    if num_devices < 1 or num_devices & (num_devices - 1):
        raise ConfigurationError(f"{num_devices} GPUs: must be a power of two, at least 1")


class Simulation:
    """Carries events to the scheduler and its commands to the executor. For one run.

    `clock` and `executor` are open to whoever wants to add calls or to let workers die at some time.
    """

    def __init__(
        self,
        cost: CostModel,
        num_devices: int,
        scheduler: Scheduler,
        faults: Faults,
        clock: VirtualClock | None = None,
        on_complete: Callable[[int], None] | None = None,
    ) -> None:
        self.clock = clock or VirtualClock()
        self.executor = SimulatedExecutor(cost, num_devices, self.clock, self._on, faults)
        self._scheduler = scheduler
        self._on_complete = on_complete
        self._requests: dict[str, Request] = {}
        self._submitted: dict[int, Chunk] = {}
        self._wake_s: float | None = None
        self._outcomes: list[Outcome] = []
        self._chunks: list[ExecutedChunk] = []
        self._decision_ms: list[float] = []

    @property
    def finished(self) -> bool:
        """Whether every request has ended."""
        return len(self._outcomes) == len(self._requests)

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

    def arrive(self, request: Request) -> None:
        """A request comes, now, beside those given to `run`."""
        self._requests[request.request_id] = request
        self._on(Arrived(request))

    def cancel(self, request_id: str) -> None:
        """Its caller gives a request up, now."""
        self._on(Cancelled(request_id))

    def _on(self, event: News) -> None:
        if isinstance(event, StepDone):  # nobody looks on
            return
        if isinstance(event, ChunkEnd):
            chunk = self._submitted.pop(event.chunk_id)
            cancelled = isinstance(event, ChunkFailed) and event.code == CANCELLED
            if not isinstance(event, ChunkLost) and not cancelled:
                self._chunks.append(ExecutedChunk(chunk, event.started_s, event.finished_s))
        self._carry_out(self._scheduler.on(event, self.clock.now_s()))

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            if isinstance(command, WakeAt):
                self._wake_s = command.at_s
                self.clock.call_at(command.at_s, Tick.rank, partial(self._tick, command.at_s))
            elif isinstance(command, Submit):
                self._submit(command.chunks)
            elif isinstance(command, Complete):
                self.executor.release(command.outcome.request.request_id)
                self._outcomes.append(command.outcome)
                if self._on_complete is not None:
                    self._on_complete(len(self._outcomes))
            else:
                self.executor.cancel(command.request_id)

    def _submit(self, chunks: tuple[Chunk, ...]) -> None:
        work = []
        for chunk in chunks:
            self._submitted[chunk.chunk_id] = chunk
            work.append((chunk, tuple([self._requests[id_] for id_ in chunk.request_ids])))
        self.executor.submit(work)

    def _tick(self, at_s: float) -> None:
        """Tick, unless a later WakeAt replaced the one that asked for this."""
        if self._wake_s == at_s:
            self._wake_s = None
            begin = perf_counter()
            commands = self._scheduler.on(TICK, self.clock.now_s())
            self._decision_ms.append((perf_counter() - begin) * 1e3)
            self._carry_out(commands)
