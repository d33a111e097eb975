"""Whom to serve when not everybody can be on time: the set that keeps most, and among equals the cheapest.

Source: Moore (1968), one machine: drop the longest job of a set that is late; differs: the machine is divisible, so
"late" is a forecast, and each of the costliest jobs is tried.
"""

from collections.abc import Sequence

from tetriserve.scheduler.policies.default.forecast import Forecast, Releases, forecast
from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.view import TOLERANCE_S

NUM_COSTLY = 2
"""So many of the costliest jobs are tried for the one to give up."""

NUM_LATE = 1
"""And so many of those that are late in the forecast."""


def select(jobs: Sequence[Job], num_free: int, releases: Releases = ()) -> Forecast:
    """The forecast of the best set found. Jobs left out of it are served with what is idle."""
    served = affordable(jobs, num_free + sum([devices for _, devices in releases]))
    best = forecast(served, num_free, releases)
    while len(best.on_time) < len(served) > 1:
        found = _cheaper(served, best, num_free, releases)
        if found[0][0] < best.worth:
            break
        _, served, best = found
    return best


def affordable(jobs: Sequence[Job], num_devices: int) -> list[Job]:
    """The jobs without the costliest of those whose GPU time is more than there is until the last of them is due.

    Saves forecasts: with these, no schedule keeps everybody on time. A forecast of all might keep one more than the
    rest do, because a late job makes room in it by its width alone; trying both was measured, and gains nothing.
    """
    kept: list[Job] = []
    needed_s = 0.0
    for job in jobs:
        kept.append(job)
        needed_s += job.gpu_s
        while needed_s > num_devices * job.due_s + TOLERANCE_S:
            costliest = max(kept, key=lambda one: one.gpu_s / one.weight)
            kept.remove(costliest)
            needed_s -= costliest.gpu_s
    return kept


def _cheaper(
    served: list[Job], best: Forecast, num_free: int, releases: Releases
) -> tuple[tuple[float, float], list[Job], Forecast]:
    """The best set with one job less; the costliest first, and if nobody is late without it, no other is tried."""
    tried = []
    for job in _droppable(served, best):
        tried.append(_without(job, served, num_free, releases))
        if len(tried[-1][2].on_time) == len(tried[-1][1]):
            break
    return max(tried, key=lambda one: one[0])


def _without(
    job: Job, served: list[Job], num_free: int, releases: Releases
) -> tuple[tuple[float, float], list[Job], Forecast]:
    """How it goes without the job: what those on time weigh, then GPU seconds not needed for them."""
    rest = [other for other in served if other is not job]
    found = forecast(rest, num_free, releases)
    gpu_s = sum([other.gpu_s for other in rest if other.key in found.on_time])
    return (found.worth, -gpu_s), rest, found


def _droppable(served: list[Job], best: Forecast) -> list[Job]:
    costly = sorted(served, key=lambda job: -job.gpu_s / job.weight)[:NUM_COSTLY]
    late = [job for job in served if job.key not in best.on_time and job not in costly]
    return costly + late[:NUM_LATE]
