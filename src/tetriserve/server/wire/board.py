"""The board: who is where on the devices, for whoever wants to draw it. The rows are those of `runtime.records`."""

from dataclasses import dataclass
from typing import Literal

from tetriserve.runtime.records import ChunkRecord, RequestRecord


@dataclass(frozen=True, slots=True)
class BoardView:
    """The last seconds (`snapshot`), or the rows that are new or have changed (`delta`). Times: seconds on one clock.

    A row replaces the one of the same id. `failure` is why nothing can be served any more.
    """

    type: Literal["snapshot", "delta"]
    now_s: float
    num_devices: int
    policy: str
    failure: str | None
    requests: tuple[RequestRecord, ...]
    chunks: tuple[ChunkRecord, ...]
