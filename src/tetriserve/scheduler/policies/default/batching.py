"""Several requests of one size as one job, where that saves GPU time and keeps at least as many on time.

Source: TetriServe §5 (selective continuous batching); differs: a batch is a job like any other in the forecast, so
that its members' deadlines and what others gain by it are both seen before it is made.
"""

from collections.abc import Callable, Sequence

from tetriserve.core.size import Size
from tetriserve.scheduler.policies.default.forecast import Forecast
from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.view import TOLERANCE_S

Decide = Callable[[Sequence[Job]], Forecast]
"""Whom to serve among jobs."""

Choice = tuple[list[Job], Forecast]
"""Jobs in order of their deadlines, and what becomes of them."""


def with_batches(
    choice: Choice, counts_of: Callable[[Size], tuple[int, ...]], merge: Callable[[Sequence[Job]], Job], decide: Decide
) -> Choice:
    """The choice after every batch that improves it. Running jobs can join when their chunk has ended."""
    for size in sorted({job.members[0].size for job in choice[0]}):
        for count in reversed(counts_of(size)):
            while (trial := _one_more(choice, size, count, merge, decide)) is not None:
                choice = trial
    return choice


def _one_more(
    choice: Choice, size: Size, count: int, merge: Callable[[Sequence[Job]], Job], decide: Decide
) -> Choice | None:
    """The choice with one more batch, of neighbours in the order of deadlines: the first that could be on time.

    None if it saves no GPU time, or if it or others would be late because of it.
    """
    jobs, chosen = choice
    single = [
        job
        for job in jobs
        if job.members[0].size == size
        and not job.in_flight
        and not job.is_within_step
        and len(job.members) == 1
        and not job.members[0].alone
    ]
    for at in range(len(single) - count + 1):
        members = single[at : at + count]
        batch = merge(members)
        if batch.ends_s <= batch.due_s + TOLERANCE_S and batch.gpu_s < sum([job.gpu_s for job in members]):
            trial = sorted([*(job for job in jobs if job not in members), batch], key=lambda job: (job.due_s, job.key))
            found = decide(trial)
            kept = batch.key in found.on_time and found.worth >= chosen.worth
            return (trial, found) if kept else None
    return None
