"""Small worlds: a profile with round numbers, requests, views, and a simulation that keeps its log."""

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from scheduler.scan import Scan
from tetriserve.core.chunk import Stage
from tetriserve.core.commands import Command
from tetriserve.core.events import Event
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile, StageTime, StepTime
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.scheduler.view import RequestView, View
from tetriserve.sim.clock import VirtualClock
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation, SimulationResult

SMALL, MEDIUM, LARGE = Size(256, 256), Size(512, 512), Size(1024, 1024)

STEP_S = {
    SMALL: {1: 0.02, 2: 0.018, 4: 0.017, 8: 0.019},
    MEDIUM: {1: 0.08, 2: 0.045, 4: 0.03, 8: 0.025},
    LARGE: {1: 0.40, 2: 0.21, 4: 0.11, 8: 0.06},
}


def make_cost(num_devices: int = 8, encode_s: float = 0.0, decode_s: float = 0.0, switch_s: float = 0.0) -> CostModel:
    """A cost model of three sizes; stages cost the same at every size."""
    entries = tuple(
        StepTime(size.width, size.height, degree, 1, step_s)
        for size, by_degree in STEP_S.items()
        for degree, step_s in by_degree.items()
    )
    batched = (StepTime(256, 256, 1, 2, 0.03),)
    stages = tuple(
        StageTime(stage, size.width, size.height, 1, seconds)
        for stage, seconds in ((Stage.ENCODE, encode_s), (Stage.DECODE, decode_s))
        for size in STEP_S
    )
    profile = Profile("toy", "none", 8, "float32", 8, "invented", "none", "never", entries + batched, stages, switch_s)
    return CostModel(profile, num_devices)


def make_request(
    request_id: str = "a", size: Size = MEDIUM, num_steps: int = 10, arrival_s: float = 0.0, slo_s: float = 2.0
) -> Request:
    """A request; what is drawn does not matter here."""
    return Request(request_id, "a red apple", size, num_steps, 3.5, 0, arrival_s, arrival_s + slo_s)


def make_request_view(
    request_id: str = "a",
    size: Size = MEDIUM,
    steps: int = 10,
    deadline_s: float = 2.0,
    last: tuple[int, ...] = (),
    ready_s: float = 0.0,
    encode_s: float = 0.0,
    decode_s: float = 0.0,
) -> RequestView:
    return RequestView(request_id, size, 0.0, deadline_s, steps, ready_s, last, encode_s, decode_s)


def make_view(
    requests: Sequence[RequestView],
    num_devices: int = 8,
    busy: dict[int, float] | None = None,
    now_s: float = 0.0,
    ahead_s: float = 0.0,
) -> View:
    """The world at `now_s`; `busy` devices are free at the given time."""
    free_s = tuple(max(now_s, (busy or {}).get(device, now_s)) for device in range(num_devices))
    cost = make_cost(num_devices)
    flying = frozenset(one.request_id for one in requests if one.ready_s > now_s)
    pending = Scan(tuple(requests), cost, now_s, flying)
    return View(now_s, ahead_s, pending, free_s, (True,) * num_devices, cost, num_devices)


class LoggingScheduler(Scheduler):
    """Keeps what it was told and what it answered."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.log: list[tuple[Event, float, tuple[Command, ...]]] = []

    def on(self, event: Event, now_s: float) -> tuple[Command, ...]:
        commands = super().on(event, now_s)
        self.log.append((event, now_s, commands))
        return commands


def make_scheduler(policy: str, cost: CostModel, num_devices: int, config: SchedulerConfig) -> LoggingScheduler:
    return LoggingScheduler(make_policy(policy, cost, num_devices, config), cost, num_devices, config)


def run(
    requests: Sequence[Request],
    policy: str = "tetriserve",
    num_devices: int = 8,
    cost: CostModel | None = None,
    config: SchedulerConfig | None = None,
    faults: Faults | None = None,
    clock: VirtualClock | None = None,
    prepare: Callable[[Simulation], None] = lambda simulation: None,
) -> tuple[SimulationResult, LoggingScheduler]:
    """Simulate, and return the result and the scheduler with its log."""
    cost = cost or make_cost(num_devices)
    scheduler = make_scheduler(policy, cost, num_devices, config or SchedulerConfig())
    simulation = Simulation(cost, num_devices, scheduler, faults or Faults(), clock)
    prepare(simulation)
    return simulation.run(requests), scheduler


def requests_strategy(max_size: int = 12) -> st.SearchStrategy[list[Request]]:
    """Requests on a coarse grid of times, so that many arrive at the same instant."""
    one = st.tuples(
        st.sampled_from([SMALL, MEDIUM, LARGE]),
        st.integers(1, 12),
        st.integers(0, 8),
        st.sampled_from([0.2, 0.6, 1.5, 9]),
    )
    return st.lists(one, min_size=1, max_size=max_size).map(
        lambda drawn: [
            make_request(f"r{index:02d}", size, steps, 0.125 * tick, slo_s)
            for index, (size, steps, tick, slo_s) in enumerate(drawn)
        ]
    )
