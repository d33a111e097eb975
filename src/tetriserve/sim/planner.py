"""How many GPUs, which policy, which SLO can be promised: simulations of one trace, searched for the least that do."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import Any

from tetriserve.bound.solve import fractional_bound
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.sim.simulate import SimulationConfig, simulate

SCALES = tuple(round(0.05 * step, 2) for step in range(4, 40)) + tuple(0.25 * step for step in range(8, 21))
"""Multiples of the trace's deadlines that a promise is searched among: 0.2 to 5."""

OnPoint = Callable[[int, int, str], None]
"""Told (done, total, what)."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. A profile is a name or a file; `requests` have the deadlines that scale 1 means."""

    profile: str
    requests: tuple[Request, ...]
    target_sar: float
    policies: tuple[str, ...]
    gpu_counts: tuple[int, ...]
    seed: int = 0
    simulation: SimulationConfig = field(default_factory=SimulationConfig)

    def __post_init__(self) -> None:
        if not 0 < self.target_sar <= 1:
            raise ConfigurationError(f"target SAR is {self.target_sar:g}, must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Point:
    """One simulation: the share of requests on time if all deadlines are `slo_scale` times those of the trace."""

    policy: str
    gpus: int
    slo_scale: float
    sar: float


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one machine: attainment at the trace's own deadlines, and the least scale that keeps the target."""

    policy: str
    gpus: int
    sar: float
    slo_scale: float | None
    points: tuple[Point, ...]


def search(question: Question, policy: str, gpus: int) -> Row:
    """The row of one policy on one machine, by bisection over `SCALES`: about seven simulations."""
    cost = CostModel(load_profile(question.profile), gpus)
    points: dict[float, Point] = {}

    def keeps(scale: float) -> bool:
        if scale not in points:
            requests = [_scaled(request, scale) for request in question.requests]
            result = simulate(cost, requests, policy, gpus, question.seed, question.simulation)
            points[scale] = Point(policy, gpus, scale, slo_attainment(result.outcomes))
        return points[scale].sar >= question.target_sar

    low, high = (0, SCALES.index(1.0)) if keeps(1.0) else (SCALES.index(1.0) + 1, len(SCALES) - 1)
    if not keeps(SCALES[high]):
        return Row(policy, gpus, points[1.0].sar, None, _ordered(points))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps(SCALES[middle]) else (middle + 1, high)
    return Row(policy, gpus, points[1.0].sar, SCALES[high], _ordered(points))


def plan(question: Question, num_processes: int, on_point: OnPoint) -> dict[str, Any]:
    """The document of a plan. Raises ConfigurationError."""
    tasks = [(policy, gpus) for gpus in question.gpu_counts for policy in question.policies]
    rows = {(row.policy, row.gpus): row for row in _search_all(question, tasks, num_processes, on_point)}
    ordered = [rows[task] for task in tasks]
    best = answer(ordered, question)
    return {
        "target_sar": question.target_sar,
        "answer": None if best is None else _promise(best, question.requests),
        "rows": [_promise(row, question.requests) for row in ordered],
        "bounds": [{"gpus": gpus, "bound_sar": _bound(question, gpus)} for gpus in question.gpu_counts],
        "points": [asdict(point) for row in ordered for point in row.points],
    }


def answer(rows: Iterable[Row], question: Question) -> Row | None:
    """Who keeps the target at the trace's own deadlines: on fewest GPUs, then with the shortest promise."""
    able = [row for row in rows if row.sar >= question.target_sar]
    return min(able, key=lambda row: (row.gpus, row.slo_scale or 0.0), default=None)


def _search_all(
    question: Question, tasks: Sequence[tuple[str, int]], num_processes: int, on_point: OnPoint
) -> Iterable[Row]:
    if num_processes == 1:
        for done, (policy, gpus) in enumerate(tasks):
            on_point(done, len(tasks), f"{policy} on {gpus} GPUs")
            yield search(question, policy, gpus)
        return
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        futures = [pool.submit(search, question, policy, gpus) for policy, gpus in tasks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                row = future.result()
                on_point(done, len(tasks), f"{row.policy} on {row.gpus} GPUs")
                yield row
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _bound(question: Question, gpus: int) -> float | None:
    """What no policy exceeds at the trace's own deadlines; None where scipy is missing."""
    try:
        return fractional_bound(CostModel(load_profile(question.profile), gpus), question.requests, gpus).sar
    except ConfigurationError:
        return None


def _promise(row: Row, requests: Sequence[Request]) -> Mapping[str, Any]:
    """The row as JSON: `slo_s` has the seconds of each size that the scale stands for, those of its longest SLO."""
    longest: dict[Any, float] = {}
    for request in sorted(requests, key=lambda one: one.size.num_tokens):
        longest[request.size] = max(longest.get(request.size, 0.0), request.slo_s)
    scale = row.slo_scale
    slo_s = None if scale is None else {str(size): round(scale * slo, 3) for size, slo in longest.items()}
    return {"policy": row.policy, "gpus": row.gpus, "sar": row.sar, "slo_scale": scale, "slo_s": slo_s}


def _scaled(request: Request, scale: float) -> Request:
    return replace(request, deadline_s=request.arrival_s + scale * request.slo_s)


def _ordered(points: Mapping[float, Point]) -> tuple[Point, ...]:
    return tuple(points[scale] for scale in sorted(points))
