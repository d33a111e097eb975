"""What is remembered of requests and chunks for those who look on: no prompt, no image, no caller.

Times are seconds since the recorder began. Fields are also the JSON of the board (docs/page.md). Not frozen, because
that takes six times as long to make, and one look makes thousands; nobody keeps or changes them.
"""

from dataclasses import dataclass
from enum import StrEnum

from tetriserve.core.chunk import Stage


class RequestState(StrEnum):
    """How far a request is."""

    WAITING = "waiting"
    RUNNING = "running"
    MET = "met"
    LATE = "late"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ChunkState(StrEnum):
    """How far a chunk is. `LOST` began and died with its workers."""

    PLANNED = "planned"
    DONE = "done"
    FAILED = "failed"
    LOST = "lost"


@dataclass(slots=True)
class RequestRecord:
    """One image. `begin_s` is when its first chunk began; `end_s` is a prediction until its state says that it ended.

    Both are null while they aren't known.
    """

    request_id: str
    size: str
    num_steps: int
    arrival_s: float
    deadline_s: float
    num_steps_done: int = 0
    state: RequestState = RequestState.WAITING
    begin_s: float | None = None
    end_s: float | None = None


@dataclass(slots=True)
class ChunkRecord:
    """Some work on some devices, as in `core.chunk.Chunk`. While it is planned, its times are predictions."""

    chunk_id: int
    stage: Stage
    request_ids: tuple[str, ...]
    devices: tuple[int, ...]
    first_steps: tuple[float, ...]
    num_steps: float
    state: ChunkState
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Records:
    """Some of the recorded, as of `now_s`. `revision` is where the next look goes on."""

    revision: int
    now_s: float
    requests: tuple[RequestRecord, ...]
    chunks: tuple[ChunkRecord, ...]
