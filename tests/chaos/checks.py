"""What must hold after a run, whatever went wrong in it: sentences, what breaks each, and what was seen."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.history import HUNG, IMAGE, LOST, Attempt, History
from chaos.images import MAX_DIFFERENCE
from chaos.rules import rule_of

MAX_GROWTH_FILES = 10
MAX_SERVER_MB = 400.0
MAX_WORKER_FILES = 100


@dataclass(frozen=True, slots=True)
class Check:
    """`broken` names at most a few of those that break it."""

    name: str
    num_broken: int
    broken: tuple[str, ...] = ()
    seen: str = ""

    @property
    def holds(self) -> bool:
        """Whether nothing breaks it."""
        return self.num_broken == 0


@dataclass(slots=True)
class Resources:
    """What servers and workers held: `files_before` load and `files_after` it, at rest, of the last server."""

    files_before: int = 0
    files_after: int = 0
    worker_files_after: int = 0
    peak_mb: float = 0.0
    shared_memory_before: frozenset[str] = frozenset()
    shared_memory_after: frozenset[str] = frozenset()


@dataclass(slots=True)
class Final:
    """What was found when all was over. `jobs` as the server lists them."""

    exit_status: int = 0
    orphans: Sequence[str] = ()
    jobs: Sequence[dict[str, Any]] = ()
    changed_results: Sequence[str] = ()
    stray_files: Sequence[str] = ()
    in_flight: int = 0
    resources: Resources = field(default_factory=Resources)


def checks_of(history: History, final: Final) -> list[Check]:
    """All of them."""
    return [*_of_requests(history), *_of_jobs(history, final), *_of_processes(final)]


def counts_of(history: History) -> dict[str, int]:
    """How many requests ended how."""
    found: Counter[str] = Counter()
    for attempt in history.attempts:
        found[outcome_of(attempt, history)] += 1
    return dict(found.most_common())


def outcome_of(attempt: Attempt, history: History) -> str:
    """`completed`, a rule, or what breaks the promise."""
    if attempt.ending == IMAGE:
        return "completed"
    return rule_of(attempt, history) or f"UNEXPLAINED: {attempt.ending}"


def _of_requests(history: History) -> list[Check]:
    attempts = history.attempts
    unended = [one for one in attempts if one.ending is None or one.ending == HUNG]
    lost = [one for one in attempts if one.ending == LOST]
    wrong = [one for one in attempts if one.difference is not None and one.difference > MAX_DIFFERENCE]
    twice = [one for one in attempts if one.num_images > 1 or (one.num_images == 1) != (one.ending == IMAGE)]
    twice = [one for one in twice if one.ending not in {"dropped", "ended with the run"}]
    ended = [one for one in attempts if one not in unended and one not in lost and one.ending != IMAGE]
    unexplained = [one for one in ended if rule_of(one, history) is None]
    worst = max((one.difference or 0 for one in attempts), default=0)
    longest_s = max((one.ended_s - one.started_s for one in attempts if one.ended_s is not None), default=0.0)
    return [
        _check("every request ends in bounded time", unended, f"the longest took {longest_s:.1f} s"),
        _check("no acknowledged job is lost", lost, f"{sum(one.acknowledged for one in attempts)} were acknowledged"),
        _check("every request ends once", twice),
        _check("no image is wrong", wrong, f"largest difference {worst} of 255"),
        _check("every failure has a rule", unexplained),
    ]


def _of_jobs(history: History, final: Final) -> list[Check]:
    known = {one.job_id for one in history.attempts if one.acknowledged}
    listed = [str(job["id"]) for job in final.jobs]
    doubled = [job_id for job_id, count in Counter(listed).items() if count > 1]
    unanswered = sum(one.kind == "job" and not one.acknowledged for one in history.attempts)
    unknown = [job_id for job_id in listed if job_id not in known]
    unfinished = [str(job["id"]) for job in final.jobs if job["status"] in {"queued", "in_progress"}]
    return [
        _named("no job is listed twice", doubled, f"{len(listed)} are listed"),
        _named("no job that nobody has asked for", unknown[unanswered:], f"{len(unknown)} of clients without answer"),
        _named("no job is left unfinished", unfinished),
        _named("a result does not change", final.changed_results),
        _named("every file of results belongs to a job", final.stray_files),
    ]


def _of_processes(final: Final) -> list[Check]:
    held = final.resources
    files = [] if held.files_after <= held.files_before + MAX_GROWTH_FILES else [f"{held.files_after} open files"]
    many = [] if held.worker_files_after <= MAX_WORKER_FILES else [f"{held.worker_files_after} open files"]
    memory = [] if held.peak_mb <= MAX_SERVER_MB else [f"{held.peak_mb:.0f} MB"]
    left = [] if final.in_flight == 0 else [f"{final.in_flight} in flight"]
    status = [] if final.exit_status == 0 else [f"exit status {final.exit_status}"]
    shared = sorted(held.shared_memory_after - held.shared_memory_before)
    return [
        _named("no process outlives its server", final.orphans),
        _named("at rest the server has nothing in flight", left),
        _named("the server's open files don't grow", files, f"{held.files_before} before, {held.files_after} after"),
        _named("a worker's open files are bounded", many, f"{held.worker_files_after} at most"),
        _named("no shared memory is left", shared),
        _named("the server's memory is bounded", memory, f"{held.peak_mb:.0f} MB at most"),
        _named("SIGTERM ends it well", status),
    ]


def _check(name: str, broken: Sequence[Attempt], seen: str = "") -> Check:
    return _named(name, [f"{one.kind} {one.job_id or ''}: {one.ending} {one.detail}".strip() for one in broken], seen)


def _named(name: str, broken: Sequence[str], seen: str = "") -> Check:
    return Check(name, len(broken), tuple(broken[:5]), seen)
