"""What happened: the only input of the scheduler, and StepDone for those who look on.

Events that share an instant are handled in the order (rank, sequence number): finished work first, then new
work, then work that is not wanted any more, then the clock.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from tetriserve.core.request import Request


@dataclass(frozen=True, slots=True)
class WorkersLost:
    """Devices can't be used until WorkersBack names them. A ChunkLost follows for every chunk that this ends."""

    rank: ClassVar[int] = 0
    devices: tuple[int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class WorkersBack:
    """Devices that were lost can be used again."""

    rank: ClassVar[int] = 0
    devices: tuple[int, ...]


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
class ChunkLost:
    """A chunk ended without effect, through no fault that is known: its requests stand where they stood before it.

    `suspect` says that it was being run when something broke, so that one of its requests may be what breaks it.
    `apart`: its requests are to go on alone; together something went wrong that may be the fault of any of them.
    """

    rank: ClassVar[int] = 1
    chunk_id: int
    message: str
    suspect: bool
    apart: bool = False


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


ChunkEnd = ChunkDone | ChunkFailed | ChunkLost
Event = WorkersLost | WorkersBack | ChunkEnd | Arrived | Cancelled | Tick


class StepDone(NamedTuple):
    """The first `num_steps` steps of a chunk are done, and it goes on. No event: what is planned is chunks.

    What was done of a chunk that is lost later is done again.
    """

    chunk_id: int
    num_steps: float


News = Event | StepDone
