"""What becomes of some jobs if nobody else arrives: the schedule played forward from end to end of a job.

Steps are taken as divisible and moves as free; both are far smaller than what the answer is used for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.view import TOLERANCE_S

Releases = tuple[tuple[float, int], ...]
"""(seconds from now, devices): when devices that can't be planned with yet become free, in order."""

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Forecast:
    """`on_time` are keys of jobs; `degrees` is what each job that starts now is given, `until_s` seconds from now;
    `worth` sums the weights of those on time."""

    on_time: frozenset[str]
    degrees: dict[str, int]
    worth: float
    until_s: float


class _Run:
    """A job on its way: `left` steps of `step_s` seconds at `degree` until the next change (0: waiting)."""

    __slots__ = ("begin_s", "by_s", "degree", "fastest_s", "job", "ladder", "left", "step_s")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.begin_s = job.begin_s
        self.by_s = job.due_s + TOLERANCE_S
        self.ladder = job.ladder
        self.fastest_s = job.curve.fastest_s
        self.left = float(job.num_steps)
        self.degree = 0
        self.step_s = 0.0


def forecast(jobs: Sequence[Job], num_free: int, releases: Releases = ()) -> Forecast:
    """Play the jobs forward in their order: each gets the least degree that meets its deadline, then all widen.

    A job that can't be on time any more gets nothing further.
    """
    live, now_s, free, coming = [_Run(job) for job in jobs], 0.0, num_free, list(reversed(releases))
    on_time: list[Job] = []
    first: dict[str, int] = {}
    until_s: float | None = None
    while live:
        running = _divide(live, free, now_s)
        next_s = _next_change_s(live, running, now_s, coming[-1][0] if coming else INFINITY)
        if until_s is None:
            first, until_s = {run.job.key: run.degree for run in running}, next_s
        for run in running:
            run.left -= (next_s - now_s) / run.step_s
        now_s = next_s
        while coming and coming[-1][0] <= now_s + TOLERANCE_S:
            free += coming.pop()[1]
        still: list[_Run] = []
        for run in live:
            if run.left <= TOLERANCE_S:
                if now_s <= run.by_s:
                    on_time.append(run.job)
            elif (now_s if now_s > run.begin_s else run.begin_s) + run.left * run.fastest_s <= run.by_s:
                still.append(run)
        live = still
    worth = sum([job.weight for job in on_time])
    return Forecast(frozenset([job.key for job in on_time]), first, worth, until_s or 0.0)


def _divide(live: list[_Run], free: int, now_s: float) -> list[_Run]:
    """Degrees for those who can start, in order; then idle devices double the degree that saves most seconds."""
    running: list[_Run] = []
    for run in live:
        run.degree = 0
        if free and run.begin_s <= now_s + TOLERANCE_S:
            _take_least(run, free, run.by_s - now_s)
            free -= run.degree
            if run.degree:
                running.append(run)
    while free:
        most_s, widest = TOLERANCE_S, None
        for run in running:
            if run.degree <= free:
                saved_s = run.left * (run.step_s - run.job.curve.step_s.get(run.degree * 2, run.step_s))
                if saved_s > most_s:
                    most_s, widest = saved_s, run
        if widest is None:
            break
        free -= widest.degree
        widest.degree *= 2
        widest.step_s = widest.job.curve.step_s[widest.degree]
    return running


def _take_least(run: _Run, free: int, budget_s: float) -> None:
    """The least degree that ends within the budget, or the largest there is room for."""
    left = run.left
    for degree, step_s in run.ladder:
        if degree > free:
            break
        run.degree, run.step_s = degree, step_s
        if left * step_s <= budget_s:
            break


def _next_change_s(live: list[_Run], running: list[_Run], now_s: float, next_s: float) -> float:
    """When the first ends or can begin, or devices become free (`next_s`)."""
    for run in running:
        end_s = now_s + run.left * run.step_s
        next_s = min(next_s, end_s)
    for run in live:
        if now_s + TOLERANCE_S < run.begin_s < next_s:
            next_s = run.begin_s
    return next_s
