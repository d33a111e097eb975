"""Nobody idle whom somebody could use: what the knapsack left over goes to those who gain most.

Source: TetriServe §4.2.3 (work-conserving elastic scale-up) and §4.2.2 (late requests, best effort).
"""

from collections.abc import Mapping, Sequence

from tetriserve.scheduler.policies.tetriserve.candidate import Candidate
from tetriserve.scheduler.policies.tetriserve.capacity import fits

Degrees = dict[str, int]
"""Degree by request id; a request that gets nothing is absent. The functions here add to it."""


def start_waiting(candidates: Sequence[Candidate], degrees: Degrees, limits: Mapping[int, int], end_s: float) -> None:
    """Give each candidate that has nothing the smallest degree of which a step ends by `end_s`, in order."""
    for candidate in candidates:
        if not fits((*degrees.values(), 1), limits):
            return
        if candidate.request.request_id in degrees:
            continue
        for degree in sorted(candidate.curve.step_s):
            if candidate.steps_within(degree, end_s) and fits((*degrees.values(), degree), limits):
                degrees[candidate.request.request_id] = degree
                break


def start_on_one(candidates: Sequence[Candidate], degrees: Degrees, limits: Mapping[int, int]) -> None:
    """Give each candidate that has nothing one device, however long its step takes, in order."""
    for candidate in candidates:
        if candidate.request.request_id not in degrees and fits((*degrees.values(), 1), limits):
            degrees[candidate.request.request_id] = 1


def scale_up(candidates: Sequence[Candidate], degrees: Degrees, limits: Mapping[int, int]) -> None:
    """Double degrees while there is room, each time that of the request that gains most. Ties go to the first."""
    while True:
        most_s, winner = 0.0, None
        for candidate in candidates:
            id_ = candidate.request.request_id
            if id_ in degrees:
                gain_s = _gain_s(candidate, degrees[id_])
                if gain_s > most_s and _can_double(id_, degrees, limits):
                    most_s, winner = gain_s, id_
        if winner is None:
            return
        degrees[winner] *= 2


def _gain_s(candidate: Candidate, degree: int) -> float:
    """Seconds that twice the degree saves over all remaining steps; 0 without a profile of it."""
    step_s = candidate.curve.step_s
    return candidate.request.remaining_steps * (step_s[degree] - step_s.get(degree * 2, step_s[degree]))


def _can_double(request_id: str, degrees: Degrees, limits: Mapping[int, int]) -> bool:
    """Whether there is room for a block twice as large in the stead of the request's."""
    return fits([degree * (1 + (id_ == request_id)) for id_, degree in degrees.items()], limits)
