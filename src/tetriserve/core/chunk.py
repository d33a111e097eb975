"""The unit of execution: some work of one stage that a block of devices does without interruption."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from tetriserve.core.steps import is_whole


class Stage(StrEnum):
    """The three stages of making an image."""

    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"


class Chunk(NamedTuple):
    """Work for `devices`, in order of `chunk_id` on every device: the one global order that rules out deadlock.

    `devices` is an aligned power-of-two block (see `core.blocks`); its length is the degree of sequence
    parallelism. ENCODE and DECODE run on one device. `first_steps[i]` is where request
    `request_ids[i]` begins; more than one request is a batch of equal size. Counts of steps may be fractions (see
    `core.steps`): a chunk that ends within a step has one request, which goes on with it on the same block. Devices
    are expected to take `expected_s` for it; those that need longer than `limit_s` are taken to hang.
    """

    chunk_id: int
    stage: Stage
    request_ids: tuple[str, ...]
    devices: tuple[int, ...]
    first_steps: tuple[float, ...] = ()
    num_steps: float = 0
    expected_s: float = 0.0
    limit_s: float = float("inf")

    @property
    def degree(self) -> int:
        """Degree of sequence parallelism."""
        return len(self.devices)

    @property
    def ends_within_step(self) -> bool:
        """Whether its devices have to keep what there is of a step."""
        return bool(self.first_steps) and not is_whole(self.first_steps[0] + self.num_steps)


def doomed(in_flight: Iterable[Chunk], is_hit: Callable[[Chunk], bool]) -> list[Chunk]:
    """Of chunks in order of submission, those that are hit, and all later ones of requests that are in one of these."""
    requests: set[str] = set()
    found = []
    for chunk in in_flight:
        if is_hit(chunk) or not requests.isdisjoint(chunk.request_ids):
            requests.update(chunk.request_ids)
            found.append(chunk)
    return found
