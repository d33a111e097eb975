"""By which rule a request may end without an image. What no rule explains breaks the promise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chaos.history import CANCELLED, CONNECTION, DROPPED, WORKER_FAULTS, Attempt, History

MAX_LOSSES = 3
"""The server's default: a request that ran in so many losses in a row is given up."""
MAX_STARTS = 5
"""So many servers die with a job before it is given up."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, the endings that it is about, and what must have happened."""

    name: str
    endings: frozenset[str]
    explains: Callable[[Attempt, History], bool]


def rule_of(attempt: Attempt, history: History) -> str | None:
    """The rule's name; None for an image, and for an ending that there is no rule for."""
    return next((r.name for r in RULES if attempt.ending in r.endings and r.explains(attempt, history)), None)


def _server_died(attempt: Attempt, history: History) -> bool:
    """A caller that waits has nobody to wait for any more; the owner of a job has the next server."""
    assert attempt.ended_s is not None
    died = any(begin_s <= attempt.ended_s and attempt.started_s <= end_s for begin_s, end_s in history.server_down)
    return died and not attempt.acknowledged


def _had_no_room(attempt: Attempt, history: History) -> bool:
    return not attempt.acknowledged and history.num_during(attempt, ("full_disk",)) > 0


RULES: Sequence[Rule] = (
    Rule("its client went away", frozenset({DROPPED}), lambda attempt, history: True),
    Rule("cancelled by its client", frozenset({CANCELLED}), lambda attempt, history: attempt.cancel_asked),
    Rule("its connection ended with the server", frozenset({CONNECTION}), _server_died),
    Rule(
        "a worker had no memory for it",
        frozenset({"out_of_memory"}),
        lambda attempt, history: history.num_during(attempt, ("memory",)) > 0,
    ),
    Rule(
        "workers died as often as it ran",
        frozenset({"worker_lost"}),
        lambda attempt, history: history.num_during(attempt, WORKER_FAULTS) >= MAX_LOSSES,
    ),
    Rule(
        "servers died as often as it was begun",
        frozenset({"server_died"}),
        lambda attempt, history: history.num_during(attempt, ("kill_server",)) >= MAX_STARTS,
    ),
    Rule("refused: no room to keep a job", frozenset({"storage_full", "job_store_unavailable"}), _had_no_room),
)
