"""How many devices are free, and in which blocks: busy devices leave a machine in pieces."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from tetriserve.core.blocks import aligned_blocks, degrees


@lru_cache(maxsize=1024)
def usable(free: tuple[int, ...], num_devices: int) -> Mapping[int, int]:
    """For each degree with a free block: the devices that lie in free blocks of that degree.

    Powers of two fit if and only if, for each degree, those of at least that degree don't exceed this number:
    placed in descending order, every block takes as many smaller blocks away wherever it is put.
    """
    devices = frozenset(free)
    found = {}
    for degree in degrees(num_devices):
        blocks = sum(devices.issuperset(block) for block in aligned_blocks(num_devices, degree))
        if blocks:
            found[degree] = degree * blocks
    return MappingProxyType(found)


def fits(taken: Iterable[int], limits: Mapping[int, int]) -> bool:
    """Whether blocks of these degrees can all be placed."""
    taken = tuple(taken)
    if max(taken, default=1) > max(limits, default=0):
        return False
    for least, limit in limits.items():
        used = 0
        for degree in taken:
            if degree >= least:
                used += degree
        if used > limit:
            return False
    return True
