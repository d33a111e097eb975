"""Process groups: one for every block of devices, made once at start and warm before the first request."""

import os
from collections.abc import Mapping

import torch
import torch.distributed as dist

from tetriserve.core.blocks import all_blocks
from tetriserve.engine.messages import Setup
from tetriserve.models.ulysses import ALONE, SequenceGroup


def join_groups(setup: Setup, device: torch.device) -> Mapping[tuple[int, ...], SequenceGroup]:
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
    blocks = [block for block in all_blocks(world_size) if setup.rank in block]
    return {block: _make_group(block, setup.rank, device) for block in blocks}


def _make_group(block: tuple[int, ...], rank: int, device: torch.device) -> SequenceGroup:
    if len(block) == 1:
        return ALONE
    group = dist.new_group(list(block), use_local_synchronization=True)
    assert isinstance(group, dist.ProcessGroup)
    _warm(group, len(block), device)
    return SequenceGroup(block.index(rank), len(block), group)


def _warm(group: dist.ProcessGroup | None, size: int, device: torch.device) -> None:
    """The first collective of a group builds its connections; later ones must not pay for that."""
    given = torch.zeros(size, device=device)
    dist.all_to_all_single(torch.empty_like(given), given, group=group)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
