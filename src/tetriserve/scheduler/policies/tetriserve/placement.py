"""Which devices: aligned blocks in descending order of degree, each where its request was before if possible.

Source: TetriServe §4.2.3 (placement preservation). Among blocks of one degree any choice leaves equal room for
smaller ones, so keeping a place never costs another request its own.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tetriserve.core.blocks import aligned_blocks


class Demand(NamedTuple):
    """A request that needs a block of `degree`; `last` is where it was."""

    request_id: str
    degree: int
    last: tuple[int, ...]


def place(
    demands: Iterable[Demand], free: Iterable[int], num_devices: int, preserve: bool = True
) -> dict[str, tuple[int, ...]]:
    """A block for each request. Raises AssertionError if they don't fit (see `capacity.fits`)."""
    room = set(free)
    placed: dict[str, tuple[int, ...]] = {}
    for demand in sorted(demands, key=lambda demand: _turn(demand, preserve)):
        blocks = [block for block in aligned_blocks(num_devices, demand.degree) if room.issuperset(block)]
        assert blocks, f"no free block of {demand.degree} devices for {demand.request_id}"
        block = max(blocks, key=lambda block: len(set(block) & set(demand.last))) if preserve else blocks[0]
        placed[demand.request_id] = block
        room.difference_update(block)
    return placed


def _turn(demand: Demand, preserve: bool) -> tuple[int, bool]:
    """Larger blocks first; among equals, first those who have been on a block of that degree."""
    return -demand.degree, preserve and len(demand.last) != demand.degree
