"""What the event-driven baselines share: who can start now, and chunks so short that the next plan comes soon."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from tetriserve.core.size import Size
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import fits
from tetriserve.scheduler.policies.tetriserve.placement import Demand, place
from tetriserve.scheduler.view import TOLERANCE_S, Assignment, View

QUANTUM_S = 0.12
"""A chunk takes as many steps as fit into this time, and at least one: GPUs can't be taken back earlier."""

EFFICIENCY = 0.5
"""A degree is efficient while its devices do at least this share of the steps they would do one by one."""

CurveOf = Callable[[Size], StepCurve]


def startable(view: View, available: Sequence[int], curve_of: CurveOf) -> list[Candidate]:
    """Requests with nothing in flight, as of the time at which all available devices are free."""
    start_s = max([view.free_s[device] for device in available], default=view.now_s)
    latest_s = view.now_s + view.ahead_s + TOLERANCE_S
    return [Candidate.of(one, curve_of(one.size), start_s) for one in view.requests if one.ready_s <= latest_s]


def efficient_degree(curve: StepCurve) -> int:
    """The largest degree that wastes no more than `EFFICIENCY` allows."""
    base, base_s = min(curve.step_s.items())
    return max(
        degree
        for degree, step_s in curve.step_s.items()
        if base * base_s >= EFFICIENCY * degree * step_s or degree == base
    )


def give(candidate: Candidate, degree: int, degrees: dict[str, int], limits: Mapping[int, int]) -> None:
    """Enter `degree` for the candidate, or the largest smaller one there is room for."""
    for smaller, _ in reversed(candidate.curve.ladder):
        if smaller <= degree and fits((*degrees.values(), smaller), limits):
            degrees[candidate.request.request_id] = smaller
            return


def short_chunks(
    view: View, available: Sequence[int], candidates: Iterable[Candidate], degrees: Mapping[str, int]
) -> tuple[Assignment, ...]:
    """A block and a chunk of about `QUANTUM_S` for every request that has a degree."""
    chosen = {one.request.request_id: one for one in candidates if one.request.request_id in degrees}
    demands = [Demand(id_, degrees[id_], one.request.last_devices) for id_, one in chosen.items()]
    blocks = place(demands, available, view.num_devices)
    return tuple(Assignment((id_,), blocks[id_], _num_steps(one, degrees[id_])) for id_, one in sorted(chosen.items()))


def _num_steps(candidate: Candidate, degree: int) -> float:
    fitting = int(QUANTUM_S / candidate.curve.step_s[degree] + TOLERANCE_S)
    return min(candidate.request.remaining_steps, max(1, fitting))
