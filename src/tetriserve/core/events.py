"""What happened: the only input of the scheduler.

Events that share an instant are handled in the order (rank, sequence number): finished work first, then new
work, then work that is not wanted any more, then the clock.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from tetriserve.core.request import Request


@dataclass(frozen=True, slots=True)
class WorkersLost:
    """Devices died. Every latent they were the only ones to hold is gone; the executor is replacing the workers."""

    rank: ClassVar[int] = 0
    devices: tuple[int, ...]
    message: str


class ChunkDone(NamedTuple):
    """A chunk ran from `started_s` to `finished_s` on all its devices."""

    chunk_id: int
    started_s: float
    finished_s: float

    @property
    def rank(self) -> int:
        """As that of ChunkFailed."""
        return 1


@dataclass(frozen=True, slots=True)
class ChunkFailed:
    """A chunk ended; its devices are well, but `failed_ids` of its requests can't go on."""

    rank: ClassVar[int] = 1
    chunk_id: int
    started_s: float
    finished_s: float
    failed_ids: tuple[str, ...]
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request was accepted."""

    rank: ClassVar[int] = 2
    request: Request


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Nobody wants this request's image any more. One that has ended, or never arrived, is no mistake: ignored."""

    rank: ClassVar[int] = 3
    request_id: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The time that a `WakeAt` asked for has come."""

    rank: ClassVar[int] = 4


Event = WorkersLost | ChunkDone | ChunkFailed | Arrived | Cancelled | Tick
