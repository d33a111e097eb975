"""Process groups: one for every block of devices, made once at start and warm before the first request."""

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
import torch.distributed as dist

from tetriserve.core.blocks import all_blocks
from tetriserve.core.request import Request
from tetriserve.engine.messages import Setup
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.attention import exchange_bytes
from tetriserve.models.ulysses import ALONE, SequenceGroup

Room = Callable[[SequenceGroup], int]
"""How many bytes an exchange of a group may have to hold, each way."""


def exchange_room(model: ModelAdapter, cells: Sequence[tuple[Request, int]], group: SequenceGroup) -> int:
    """Room for the largest of some cells."""
    shapes = [model.shape(model.blank(request), batch) for request, batch in cells]
    needs = (exchange_bytes(s.num_text + s.num_image, s.batch, group.degree, model.heads) for s in shapes)
    return max(needs, default=0)


def join_groups(
    setup: Setup, device: torch.device, room: Room = lambda group: 0
) -> Mapping[tuple[int, ...], SequenceGroup]:
    """Meet the other ranks and return this rank's blocks.

    Every block's group is made by its members alone, in the order of `all_blocks`: ranks that share two blocks make
    them in the same order, so none waits for one that waits for it.
    """
    world_size = len(setup.devices)
    if world_size > 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = dist.FileStore(setup.rendezvous, world_size)  # type: ignore[attr-defined]
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=setup.rank, world_size=world_size)
        _warm(None, world_size, device)
    groups: dict[tuple[int, ...], SequenceGroup] = {}
    for block in all_blocks(world_size):  # smaller ones first
        if setup.rank in block:
            groups[block] = _make_group(block, setup.rank, device, groups, room)
    return groups


def _make_group(
    block: tuple[int, ...],
    rank: int,
    device: torch.device,
    smaller: Mapping[tuple[int, ...], SequenceGroup],
    room: Room,
) -> SequenceGroup:
    if len(block) == 1:
        return ALONE
    process_group = dist.new_group(list(block), use_local_synchronization=True)
    assert isinstance(process_group, dist.ProcessGroup)
    _warm(process_group, len(block), device)
    middle = len(block) // 2
    half = block[:middle] if rank in block[:middle] else block[middle:]
    group = SequenceGroup(block.index(rank), len(block), process_group, smaller[half])
    num_bytes = room(group) if _share_memory(block, device) else 0
    if num_bytes == 0:
        return group
    from tetriserve.models.symmetric import PeerMemory  # noqa: PLC0415  (needs Triton)

    return replace(group, memory=PeerMemory(process_group, device, num_bytes))


def _share_memory(block: tuple[int, ...], device: torch.device) -> bool:
    """Whether every device of the block can write into every other's memory."""
    return device.type == "cuda" and all(
        torch.cuda.can_device_access_peer(a, b) for a, b in itertools.permutations(block, 2)
    )


def _warm(group: dist.ProcessGroup | None, size: int, device: torch.device) -> None:
    """The first collective of a group builds its connections; later ones must not pay for that."""
    given = torch.zeros(size, device=device)
    dist.all_to_all_single(torch.empty_like(given), given, group=group)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
