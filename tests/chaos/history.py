"""All that happened in a run: what was asked for and how that ended, what was done to the server, signs of life."""

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from chaos.plan import Fault, Kind

WORKER_FAULTS: Collection[Kind] = ("kill_worker", "kill_workers", "hang", "memory")
AFTERMATH_S = 5.0
"""So long after its end a fault explains what goes wrong: what was planned in it may run a little later."""

IMAGE, DROPPED, CONNECTION, CANCELLED, LOST, HUNG = "image", "dropped", "connection", "cancelled", "lost", "hung"
"""Endings of attempts; all others are codes of errors."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One request of a client, from sending to ending.

    `acknowledged`: the server has promised a job. `cancel_asked`: the client has told the server to stop it.
    `difference`: how far the image is from the undisturbed one, in values of 0 to 255. `num_images`: how many came.
    """

    kind: Literal["foreground", "stream", "job"]
    started_s: float
    job_id: str | None = None
    acknowledged: bool = False
    cancel_asked: bool = False
    ending: str | None = None
    detail: str = ""
    ended_s: float | None = None
    difference: int | None = None
    num_images: int = 0
    png: bytes = b""
    task: "asyncio.Task[None] | None" = None

    def end(self, ending: str, detail: str = "") -> None:
        """The first ending is the one that counts."""
        if self.ending is None:
            self.ending, self.detail, self.ended_s = ending, detail, time.monotonic()

    def drop(self) -> None:
        """The client goes away."""
        self.end(DROPPED)
        if self.task is not None:
            self.task.cancel()


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault, when it began and ended, and what it hit; `hit` is empty if there was nothing to hit."""

    fault: Fault
    begin_s: float
    end_s: float
    hit: str


@dataclass(slots=True)
class History:
    """`alive_s`: when something got done. `server_down`: from a server's death to its successor's first answer."""

    attempts: list[Attempt] = field(default_factory=list)
    injections: list[Injection] = field(default_factory=list)
    alive_s: list[float] = field(default_factory=list)
    server_down: list[tuple[float, float]] = field(default_factory=list)

    def alive(self) -> None:
        """Something got done: a step, or an image."""
        self.alive_s.append(time.monotonic())

    def num_during(self, attempt: Attempt, kinds: Collection[Kind]) -> int:
        """Faults that may have touched an attempt; one that is recorded at its end only counts from its beginning."""
        end_s = time.monotonic() if attempt.ended_s is None else attempt.ended_s
        return sum(
            one.fault.kind in kinds and one.begin_s <= end_s and one.end_s + AFTERMATH_S >= attempt.started_s
            for one in self.injections
            if one.hit
        )

    def live(self, *kinds: str) -> list[Attempt]:
        """Attempts of some kinds that have not ended."""
        return [one for one in self.attempts if one.ending is None and one.kind in kinds]
