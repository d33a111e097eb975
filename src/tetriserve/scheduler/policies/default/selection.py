"""Whom to serve when not everybody can be on time: the set that keeps most, and among equals the cheapest.

Source: Moore (1968), one machine: drop the longest job of a set that is late; differs: the machine is divisible, so
"late" is a forecast, and each of the costliest jobs is tried.
"""

from collections.abc import Sequence

from tetriserve.scheduler.policies.default.forecast import Forecast, Releases, forecast
from tetriserve.scheduler.policies.default.job import Job

NUM_COSTLY = 4
"""So many of the costliest jobs are tried for the one to give up."""

NUM_LATE = 2
"""And so many of those that are late in the forecast."""


def select(jobs: Sequence[Job], num_free: int, releases: Releases = ()) -> Forecast:
    """The forecast of the best set found. Jobs left out of it are served with what is idle."""
    served = list(jobs)
    best = forecast(served, num_free, releases)
    while len(best.on_time) < len(served) > 1:
        found = max(
            [_without(job, served, num_free, releases) for job in _droppable(served, best)], key=lambda one: one[0]
        )
        if found[0][0] < best.num_images:
            break
        _, served, best = found
    return best


def _without(
    job: Job, served: list[Job], num_free: int, releases: Releases
) -> tuple[tuple[int, float], list[Job], Forecast]:
    """How it goes without the job: images on time, then GPU seconds not needed for them."""
    rest = [other for other in served if other is not job]
    found = forecast(rest, num_free, releases)
    gpu_s = sum([other.gpu_s for other in rest if other.key in found.on_time])
    return (found.num_images, -gpu_s), rest, found


def _droppable(served: list[Job], best: Forecast) -> list[Job]:
    costly = sorted(served, key=lambda job: -job.gpu_s / len(job.members))[:NUM_COSTLY]
    late = [job for job in served if job.key not in best.on_time and job not in costly]
    return costly + late[:NUM_LATE]
