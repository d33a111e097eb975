"""How many steps a chunk takes, or which part of one: long steps are interrupted for others."""

import math

from tetriserve.core.steps import GRAIN, is_whole
from tetriserve.scheduler.view import TOLERANCE_S, RequestView, View


def least_part(step_s: float, part_s: float) -> float:
    """The largest half, quarter or eighth of a step that takes no longer than `part_s`, or all of it; 0: all."""
    part: float = 1
    while part > GRAIN and part * step_s > part_s > 0:
        part /= 2
    return part


def steps_within(seconds: float, step_s: float, part: float) -> float:
    """As many parts of steps as fit into so many seconds, at least one."""
    return part * max(1, int(seconds / (part * step_s) + TOLERANCE_S))


def permitted(num_steps: float, one: RequestView, block: tuple[int, ...], view: View) -> float:
    """So many steps of a request, if it has them; or up to the end of a step, if it may not stop within one there."""
    left = max(0.0, one.remaining_steps - num_steps)
    if not is_whole(left) and not view.may_interrupt(one.request_id, block):
        left = math.floor(left)
    return one.remaining_steps - left
