"""What becomes of some jobs if nobody else arrives: the schedule played forward from end to end of a job.

Steps are taken as divisible and moves as free; both are far smaller than what the answer is used for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tetriserve.scheduler.policies.default.job import Job
from tetriserve.scheduler.view import TOLERANCE_S

Releases = tuple[tuple[float, int], ...]
"""(seconds from now, devices): when devices that can't be planned with yet become free, in order."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """`on_time` are keys of jobs; `degrees` is what each job that starts now is given, `until_s` seconds from now;
    `worth` sums the weights of those on time."""

    on_time: frozenset[str]
    degrees: dict[str, int]
    worth: float
    until_s: float


class _Run:
    """A job on its way: `left` steps, at `degree` until the next change (0: waiting)."""

    __slots__ = ("degree", "job", "left")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.left = float(job.num_steps)
        self.degree = 0


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
        next_s = min(_next_end_s(running, now_s), coming[-1][0] if coming else float("inf"))
        for run in live:
            if now_s + TOLERANCE_S < run.job.begin_s < next_s:
                next_s = run.job.begin_s
        if until_s is None:
            first, until_s = {run.job.key: run.degree for run in running}, next_s
        for run in running:
            run.left -= (next_s - now_s) / run.job.curve.step_s[run.degree]
        now_s = next_s
        while coming and coming[-1][0] <= now_s + TOLERANCE_S:
            free += coming.pop()[1]
        on_time += [run.job for run in live if run.left <= TOLERANCE_S and now_s <= run.job.due_s + TOLERANCE_S]
        live = [run for run in live if run.left > TOLERANCE_S and _can_be_on_time(run, now_s)]
    worth = sum([job.weight for job in on_time])
    return Forecast(frozenset([job.key for job in on_time]), first, worth, until_s or 0.0)


def _divide(live: list[_Run], free: int, now_s: float) -> list[_Run]:
    """Degrees for those who can start, in order; then idle devices double the degree that saves most seconds."""
    running: list[_Run] = []
    for run in live:
        run.degree = 0
        if free and run.job.begin_s <= now_s + TOLERANCE_S:
            run.degree = _needed(run, free, run.job.due_s - now_s + TOLERANCE_S)
            free -= run.degree
            if run.degree:
                running.append(run)
    while free:
        best_s, best = TOLERANCE_S, None
        for run in running:
            if run.degree <= free:
                gain_s = _gain_s(run)
                if gain_s > best_s:
                    best_s, best = gain_s, run
        if best is None:
            break
        free -= best.degree
        best.degree *= 2
    return running


def _needed(run: _Run, free: int, budget_s: float) -> int:
    """The least degree that ends within the budget, or the largest there is room for."""
    found, left = 0, run.left
    for degree, step_s in run.job.ladder:
        if degree > free:
            break
        found = degree
        if left * step_s <= budget_s:
            break
    return found


def _gain_s(run: _Run) -> float:
    """Seconds that twice the degree would save over all that is left."""
    step_s = run.job.curve.step_s
    now_s = step_s[run.degree]
    return run.left * (now_s - step_s.get(run.degree * 2, now_s))


def _next_end_s(running: list[_Run], now_s: float) -> float:
    return now_s + min([run.left * run.job.curve.step_s[run.degree] for run in running], default=float("inf"))


def _can_be_on_time(run: _Run, now_s: float) -> bool:
    return max(now_s, run.job.begin_s) + run.left * run.job.curve.fastest_s <= run.job.due_s + TOLERANCE_S
