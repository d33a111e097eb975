"""Who runs in this round: a group knapsack that lets as many requests as possible keep their deadlines.

Source: TetriServe §4.2.2, Algorithm 1; differs: the state counts devices in blocks where busy devices left the
machine in pieces, and ties go to the least GPU time in sum (see docs/scheduler.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tetriserve.scheduler.policies.tetriserve.candidate import Candidate, Round
from tetriserve.scheduler.view import TOLERANCE_S

SURVIVOR = 1e6
"""Worth of a survivor of weight 1 in GPU seconds: more than any GPU time at stake in a round."""

PROGRESS = 1e-3
"""Worth of a second of work done in GPU seconds: enough to decide between plans that cost the same."""

IMPOSSIBLE = float("-inf")


@dataclass(frozen=True, slots=True)
class Option:
    """One way to spend the round. Degree 0 is the option `none`. The greater value wins."""

    degree: int
    num_steps: float
    value: float


def options(candidate: Candidate, round_: Round, largest_block: int) -> tuple[Option, ...]:
    """`none`, and each degree of the candidate's allocation, or the largest free block where that is smaller.

    A step longer than the round is taken alone, and holds its devices past the end.
    """
    found = {0: _option(candidate, round_, 0, 0)}
    for share in candidate.shares():
        degree = min(share.degree, largest_block)
        found[degree] = _option(candidate, round_, degree, max(1, candidate.steps_within(degree, round_.end_s)))
    return tuple(found.values())


def _option(candidate: Candidate, round_: Round, degree: int, num_steps: float) -> Option:
    """Survival first, by weight, then the least GPU time that the request will have cost, then progress.

    Source: TetriServe §4.2.2 (LB, sv); differs: what ends within the round counts from its own end.
    """
    curve, left = candidate.curve, candidate.request.remaining_steps - num_steps
    taken_s = num_steps * curve.step_s[degree] if degree else 0.0
    ready_s = candidate.begin_s + taken_s
    if left:
        ready_s = max(ready_s, round_.end_s + (0.0 if degree else candidate.request.encode_s))
    least_s = left * curve.fastest_s
    survives = ready_s + least_s <= candidate.due_s + TOLERANCE_S
    gpu_s = degree * taken_s + curve.least_gpu_s(left, candidate.due_s - ready_s)
    return Option(degree, num_steps, SURVIVOR * candidate.request.weight * survives - gpu_s - PROGRESS * least_s)


def pack(groups: Sequence[Sequence[Option]], limits: Mapping[int, int]) -> tuple[Option, ...]:
    """One option of each group: the greatest sum of values whose degrees all find a block. Ties go to the first."""
    moves = _moves(frozenset(option.degree for group in groups for option in group), tuple(limits.items()))
    values = [0.0] + [IMPOSSIBLE] * (len(moves[0]) - 1)
    trail: list[list[tuple[Option, int]]] = []
    for group in groups:
        best, back = [IMPOSSIBLE] * len(values), [(group[0], 0)] * len(values)
        for option in group:
            move, worth = moves[option.degree], option.value
            for state, value in enumerate(values):
                target = move[state]
                if target >= 0 and value + worth > best[target]:
                    best[target], back[target] = value + worth, (option, state)
        values = best
        trail.append(back)
    state = values.index(max(values))
    chosen: list[Option] = []
    for back in reversed(trail):
        option, state = back[state]
        chosen.append(option)
    return tuple(reversed(chosen))


@lru_cache(maxsize=1024)
def _moves(degrees: frozenset[int], limits: tuple[tuple[int, int], ...]) -> dict[int, list[int]]:
    """For each degree and state, the state after taking a block more; -1 if there is no room.

    A state counts the devices taken, and those taken by blocks of at least k for each k at which the free
    blocks, not the number of devices, are the bound. A whole machine has no such k: states are device counts.
    """
    total = dict(limits).get(1, 0)
    bounds = [(1, total)] + [(k, limit) for k, limit in limits if limit < total // k * k]
    states: dict[tuple[int, ...], int] = {(0,) * len(bounds): 0}
    moves: dict[int, list[int]] = {degree: [] for degree in sorted(degrees | {0})}
    queue = list(states)
    for state in queue:
        for degree, move in moves.items():
            target = tuple([used + degree * (degree >= k) for used, (k, _) in zip(state, bounds, strict=True)])
            if any(used > limit for used, (_, limit) in zip(target, bounds, strict=True)):
                move.append(-1)
                continue
            if target not in states:
                states[target] = len(states)
                queue.append(target)
            move.append(states[target])
    return moves
