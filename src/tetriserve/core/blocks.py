"""Aligned power-of-two blocks of devices: the only device sets that ever work together.

Source: the buddy system (Knowlton 1965). Placed in descending order, powers of two that sum to at most the number
of devices always fit, and a rank belongs to only log2(N) + 1 blocks.
"""

from functools import cache


@cache
def degrees(num_devices: int) -> tuple[int, ...]:
    """The degrees of parallelism `num_devices` allow: 1, 2, 4, ... Six devices allow 1, 2 and 4."""
    return tuple(1 << i for i in range(num_devices.bit_length())) if num_devices > 0 else ()


@cache
def aligned_blocks(num_devices: int, degree: int) -> tuple[tuple[int, ...], ...]:
    """All blocks of `degree` devices that start at a multiple of `degree`, in ascending order."""
    return tuple(tuple(range(start, start + degree)) for start in range(0, num_devices - degree + 1, degree))


def all_blocks(num_devices: int) -> tuple[tuple[int, ...], ...]:
    """Every block of every degree, the order in which process groups are made."""
    return tuple(block for degree in degrees(num_devices) for block in aligned_blocks(num_devices, degree))


@cache
def is_block(devices: tuple[int, ...]) -> bool:
    """Whether `devices` is an aligned power-of-two block."""
    degree = len(devices)
    return (
        degree > 0
        and degree & (degree - 1) == 0
        and devices[0] % degree == 0
        and devices == tuple(range(devices[0], devices[0] + degree))
    )
