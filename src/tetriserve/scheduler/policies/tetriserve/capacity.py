"""How many devices are free, and in which blocks: busy devices leave a machine in pieces."""

from collections.abc import Iterable, Mapping

from tetriserve.core.blocks import aligned_blocks, degrees


def usable(free: Iterable[int], num_devices: int) -> dict[int, int]:
    """For each degree with a free block: the devices that lie in free blocks of that degree.

    Powers of two fit if and only if, for each degree, those of at least that degree don't exceed this number:
    placed in descending order, every block takes as many smaller blocks away wherever it is put.
    """
    free = frozenset(free)
    found = {}
    for degree in degrees(num_devices):
        blocks = sum(free.issuperset(block) for block in aligned_blocks(num_devices, degree))
        if blocks:
            found[degree] = degree * blocks
    return found


def fits(taken: Iterable[int], limits: Mapping[int, int]) -> bool:
    """Whether blocks of these degrees can all be placed."""
    taken = tuple(taken)
    return max(taken, default=1) <= max(limits, default=0) and all(
        sum(degree for degree in taken if degree >= least) <= limit for least, limit in limits.items()
    )
