"""Aligned blocks."""

import pytest

from tetriserve.core.blocks import aligned_blocks, all_blocks, degrees, is_block


@pytest.mark.parametrize(
    ("num_devices", "expected"),
    [(0, ()), (1, (1,)), (2, (1, 2)), (3, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4)), (8, (1, 2, 4, 8))],
)
def test_degrees_are_the_powers_of_two_that_fit(num_devices: int, expected: tuple[int, ...]) -> None:
    assert degrees(num_devices) == expected


def test_blocks_start_at_multiples_of_their_degree() -> None:
    assert aligned_blocks(8, 4) == ((0, 1, 2, 3), (4, 5, 6, 7))
    assert aligned_blocks(6, 4) == ((0, 1, 2, 3),)
    assert aligned_blocks(3, 2) == ((0, 1),)


def test_eight_devices_have_fifteen_blocks() -> None:
    assert len(all_blocks(8)) == 8 + 4 + 2 + 1
    assert all(is_block(block) for block in all_blocks(8))


@pytest.mark.parametrize("devices", [(), (1, 2), (0, 1, 2), (0, 2), (1, 0), (2, 3, 4, 5)])
def test_what_is_no_block(devices: tuple[int, ...]) -> None:
    assert not is_block(devices)
