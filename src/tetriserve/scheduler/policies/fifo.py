"""First come, first served: each image from start to end on one block, and nobody overtakes the head of the line.

Source: TetriServe §6.1 (the baselines: xDiT with a fixed degree, and RSSP, a fixed degree per size).
"""

from collections.abc import Callable
from functools import partial

from tetriserve.core.blocks import aligned_blocks
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.deadline import default_slo_s
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.view import Assignment, Plan, Policy, RequestView, View


def fixed(degree: int, cost: CostModel, num_devices: int) -> Policy:
    """Every image at `degree`. Raises ConfigurationError if the machine or the profile has no such degree."""
    if degree > num_devices or degree not in cost.degrees:
        raise ConfigurationError(
            f"fixed-sp{degree} needs {degree} devices and a profile of that degree; "
            f"there are {num_devices} devices and the degrees {list(cost.degrees)}"
        )
    return partial(plan_fifo, degree_of=lambda request: degree)


def rssp(cost: CostModel, num_devices: int) -> Policy:
    """Every image at the degree of its size, see `solo_degree`."""
    usable = tuple(degree for degree in cost.degrees if degree <= num_devices)
    return partial(
        plan_fifo, degree_of=lambda request: solo_degree(request.size, request.remaining_steps, cost, usable)
    )


def solo_degree(size: Size, num_steps: float, cost: CostModel, usable: tuple[int, ...]) -> int:
    """The degree of least GPU time that, alone, meets the default SLO of the size; the fastest if none does."""
    slo_s = default_slo_s(size, num_steps, cost)
    in_time = [degree for degree in usable if cost.solo_s(size, num_steps, degree) <= slo_s]
    if not in_time:
        return min(usable, key=lambda degree: cost.step_s(size, degree))
    return min(in_time, key=lambda degree: (cost.step_gpu_s(size, degree), degree))


def plan_fifo(view: View, memory: None, degree_of: Callable[[RequestView], int]) -> tuple[Plan, None]:
    """Start requests in order of arrival until one finds no free block. The lowest block is taken first."""
    free = set(view.available())
    assignments: list[Assignment] = []
    for request in view.requests:
        degree = _possible(degree_of(request), view)
        block = next((b for b in aligned_blocks(view.num_devices, degree) if free.issuperset(b)), None)
        if block is None:
            break
        assignments.append(Assignment((request.request_id,), block, request.remaining_steps))
        free.difference_update(block)
    return Plan(tuple(assignments)), memory


def _possible(degree: int, view: View) -> int:
    """The degree, or, while lost devices leave no block of it, the largest smaller one that the profile knows."""
    smaller = [
        known
        for known in view.cost.degrees
        if known <= degree and any(view.has(block) for block in aligned_blocks(view.num_devices, known))
    ]
    return max(smaller, default=degree)
