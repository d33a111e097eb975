"""Several requests of one size as one chunk of the round, where that saves GPU time and nobody's deadline is at risk.

Source: TetriServe §5 (selective continuous batching); differs: which sizes are small enough is read off the profile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.policies.tetriserve.candidate import Candidate, Round
from tetriserve.scheduler.policies.tetriserve.capacity import fits
from tetriserve.scheduler.policies.tetriserve.elastic import Degrees
from tetriserve.scheduler.view import TOLERANCE_S


@dataclass(frozen=True, slots=True)
class Batch:
    """Members that take `num_steps` steps of `step_s` seconds together, from `begin_s` on."""

    members: tuple[Candidate, ...]
    degree: int
    step_s: float
    num_steps: float
    begin_s: float

    @property
    def ids(self) -> tuple[str, ...]:
        """Its requests; the first stands for the batch."""
        return tuple([one.request.request_id for one in self.members])

    @property
    def end_s(self) -> float:
        """When its chunk ends."""
        return self.begin_s + self.num_steps * self.step_s


def join(
    candidates: Sequence[Candidate], degrees: Degrees, limits: Mapping[int, int], round_: Round, cost: CostModel
) -> dict[str, Batch]:
    """Batches by their first member. `degrees` then has the degree of the batch for it, and nothing for the others."""
    batches: dict[str, Batch] = {}
    by_size: dict[Size, list[Candidate]] = {}
    for candidate in (one for one in candidates if not one.request.alone):
        by_size.setdefault(candidate.request.size, []).append(candidate)
    for group in by_size.values():
        while batch := _best(group, degrees, limits, round_, cost):
            for id_ in batch.ids:
                degrees.pop(id_, None)
            degrees[batch.ids[0]] = batch.degree
            batches[batch.ids[0]] = batch
            del group[: len(batch.members)]
    return batches


def _best(
    group: list[Candidate], degrees: Degrees, limits: Mapping[int, int], round_: Round, cost: CostModel
) -> Batch | None:
    """The batch of those with least slack that saves most GPU time a step, if any saves some."""
    found: list[tuple[float, int, Batch]] = []
    for degree in group[0].curve.step_s if group else ():
        for count in cost.batches(degree, group[0].request.size):
            if not 1 < count <= len(group):
                continue
            members = tuple(group[:count])
            batch = _batch(members, degree, cost.step_s(group[0].request.size, degree, count), round_)
            others = [taken for id_, taken in degrees.items() if id_ not in batch.ids]
            saved_s = sum([_gpu_s(one, degrees) for one in members]) - degree * batch.step_s
            if saved_s > TOLERANCE_S and _nobody_at_risk(batch, round_) and fits((*others, degree), limits):
                found.append((saved_s, -degree, batch))
    return max(found, key=lambda one: one[:2])[2] if found else None


def _batch(members: tuple[Candidate, ...], degree: int, step_s: float, round_: Round) -> Batch:
    begin_s = round_.start_s + sum([one.request.encode_s for one in members])
    fitting = int((round_.end_s - begin_s + TOLERANCE_S) / step_s)
    num_steps = min(fitting, *[one.request.remaining_steps for one in members])
    return Batch(members, degree, step_s, num_steps, begin_s)


def _gpu_s(candidate: Candidate, degrees: Degrees) -> float:
    """GPU time of a step alone, where the knapsack put it; on the smallest degree if nowhere."""
    degree = degrees.get(candidate.request.request_id, min(candidate.curve.step_s))
    return degree * candidate.curve.step_s[degree]


def _nobody_at_risk(batch: Batch, round_: Round) -> bool:
    """Whether all members survive the round, as `packing` counts survival."""
    for one in batch.members:
        left = one.request.remaining_steps - batch.num_steps
        ready_s = max(batch.end_s, round_.end_s) if left else batch.end_s
        if ready_s + left * one.curve.fastest_s > one.due_s + TOLERANCE_S:
            return False
    return batch.num_steps > 0
