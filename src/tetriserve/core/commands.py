"""What the scheduler wants done: its only output."""

from dataclasses import dataclass
from typing import NamedTuple

from tetriserve.core.chunk import Chunk
from tetriserve.core.outcome import Outcome


class Submit(NamedTuple):
    """Hand these chunks to the executor together. They were planned at one instant."""

    chunks: tuple[Chunk, ...]


class WakeAt(NamedTuple):
    """Send a Tick at this time. A later WakeAt replaces an earlier one."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """A request is not wanted any more: its chunks that have not started need no time. A Complete follows."""

    request_id: str


@dataclass(frozen=True, slots=True)
class Complete:
    """A request ended. The executor may forget it once its image, if any, has been taken."""

    outcome: Outcome


Command = Submit | WakeAt | Cancel | Complete
