"""Process groups of one rank: one for every block it belongs to and one of all ranks, made, cut and made anew.

They are made from their parts, not by `torch.distributed.new_group`: that one asks for a default group of all ranks
that there will ever be, and ranks come and go. Source: torch/distributed/_dist2.py.
"""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import (
    FileStore,
    PrefixStore,
    Store,
    _register_process_group,
    _unregister_process_group,
)
from torch.distributed.distributed_c10d import GroupName

from tetriserve.core.request import Request
from tetriserve.engine.messages import Regroup
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.attention import exchange_bytes
from tetriserve.models.ulysses import ALONE, ExchangeError, Link, SequenceGroup

Block = tuple[int, ...]
Room = Callable[[SequenceGroup], int]
"""How many bytes an exchange of a group may have to hold, each way."""

MEETING_S = 5.0
"""All ranks are there when they begin to make groups: who doesn't answer for so long has died since."""
EXCHANGE_S = 1800.0
"""Not how hanging workers are found: whoever plans chunks knows how long they may take."""


def exchange_room(model: ModelAdapter, cells: Sequence[tuple[Request, int]], group: SequenceGroup) -> int:
    """Room for the largest of some cells."""
    shapes = [model.shape(model.blank(request), batch) for request, batch in cells]
    needs = (exchange_bytes(s.num_text + s.num_image, s.batch, group.degree, model.heads) for s in shapes)
    return max(needs, default=0)


class Groups:
    """The groups of a rank. `world` is for hand-overs; None until there is one, or when it could not be made."""

    def __init__(self, rank: int, device: torch.device, room: Room = lambda group: 0) -> None:
        self._rank = rank
        self._device = device
        self._room = room
        self._world_ranks: tuple[int, ...] = ()
        self.num_shared = 0
        """Times that this rank has met others to share memory."""
        self.world: Link | None = None
        self.blocks: dict[Block, SequenceGroup] = {(rank,): ALONE}

    def cut(self, block: Block) -> list[SequenceGroup]:
        """Break off the exchanges of a block and of its halves. Returns the groups that are gone."""
        gone = [other for other in self.blocks if len(other) > 1 and set(other) <= set(block)]
        return [self._drop(other) for other in gone]

    def take_apart(self, command: Regroup) -> list[SequenceGroup]:
        """Let go of what is to be made anew, and of blocks that aren't complete any more. Returns what is gone."""
        if command.world and self.world is not None:
            self.world.cut()
            self.world = None
        stale = [
            block
            for block in self.blocks
            if block in command.blocks or (command.world and not set(block) <= set(command.world))
        ]
        return [self._drop(block) for block in stale]

    def make(self, command: Regroup) -> list[Block]:
        """Meet the other ranks. Returns this rank's new blocks. Raises ExchangeError or what torch raises.

        Ranks that share two blocks make them in the same order, smaller ones first, so none waits for one that waits
        for it.
        """
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = FileStore(command.rendezvous)
        store.set_timeout(timedelta(seconds=MEETING_S))
        if len(command.world) > 1:
            self.world = self._link(store, f"{command.epoch}:world", command.world)
        self._world_ranks = command.world or self._world_ranks
        made = []
        for block in command.blocks:
            if self._rank in block:
                self.blocks[block] = self._make_group(store, command.epoch, block)
                made.append(block)
        return made

    def send(self, buffer: Tensor, target: int) -> dist.Work:
        """Begin to give a tensor to a rank. Raises ExchangeError."""
        return self._transfer(lambda group, at: group.send([buffer], at, 0), target)

    def receive(self, buffer: Tensor, source: int) -> dist.Work:
        """Begin to fill a tensor with what a rank sends. Raises ExchangeError."""
        return self._transfer(lambda group, at: group.recv([buffer], at, 0), source)

    def _transfer(self, start: Callable[[dist.ProcessGroup, int], dist.Work], peer: int) -> dist.Work:
        if self.world is None or peer not in self._world_ranks:
            raise ExchangeError(f"rank {peer} has not joined")
        group, at = self.world.process_group, self._world_ranks.index(peer)
        try:
            if self._device.type == "cpu":
                return start(group, at)
            # As a batch of one, which runs on the group's own communicator instead of a new one for each pair.
            group._start_coalescing(self._device)
            start(group, at)
            return group._end_coalescing(self._device)
        except RuntimeError as error:
            raise ExchangeError(str(error)) from None

    def _make_group(self, store: Store, epoch: int, block: Block) -> SequenceGroup:
        name = f"{epoch}:{'-'.join(map(str, block))}"
        link = self._link(store, name, block)
        middle = len(block) // 2
        half = block[:middle] if self._rank in block[:middle] else block[middle:]
        group = SequenceGroup(block.index(self._rank), len(block), link, self.blocks[half])
        num_bytes = self._room(group) if _share_memory(block, self._device) else 0
        if num_bytes == 0 or not self.agree_to_share(PrefixStore(name, store), block):
            return group
        from tetriserve.models.symmetric import PeerMemory  # noqa: PLC0415  (needs Triton)

        try:
            memory = PeerMemory(link.process_group, self._device, num_bytes)
        except Exception:
            self.num_shared = -1 - self._rank  # nobody knows how far the others got: this rank agrees with none again
            raise
        self.num_shared += 1
        return replace(group, memory=memory)

    def agree_to_share(self, store: Store, block: Block) -> bool:
        """Tell the others how often this rank has shared memory, and whether all have equally often.

        Symmetric memory numbers its meetings by process (StoreExchange in torch's CUDASymmetricMemoryUtils.hpp): one
        that has died and come back would wait for others under numbers that they have left behind. A block with such a
        rank exchanges by collectives.
        """
        store.set(f"shared/{self._rank}", str(self.num_shared))
        return len({store.get(f"shared/{rank}") for rank in block}) == 1

    def _link(self, store: Store, name: str, ranks: tuple[int, ...]) -> Link:
        group = _make_process_group(PrefixStore(name, store), name, ranks.index(self._rank), len(ranks), self._device)
        _warm(group, len(ranks), self._device)
        return Link(group) if self._device.type == "cpu" else Link(group, _abort)

    def _drop(self, block: Block) -> SequenceGroup:
        group = self.blocks.pop(block)
        assert group.link is not None
        group.link.cut()
        return group


def _make_process_group(store: Store, name: str, rank: int, size: int, device: torch.device) -> dist.ProcessGroup:
    """A process group that is known to its members alone."""
    group = dist.ProcessGroup(store, rank, size)
    limit = timedelta(seconds=EXCHANGE_S)
    if device.type == "cpu":
        kind = dist.ProcessGroup.BackendType.GLOO
        group._set_default_backend(kind)
        group._register_backend(device, kind, dist.ProcessGroupGloo(store, rank, size, limit))
        return group
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = limit
    backend = dist.ProcessGroupNCCL(store, rank, size, options)
    backend._set_sequence_number_for_group()
    backend.eager_connect_single_device(device)
    kind = dist.ProcessGroup.BackendType.NCCL
    group._set_default_backend(kind)
    group._register_backend(device, kind, backend)
    # Symmetric memory finds its group, and through it the store, by name.
    group._set_group_name(GroupName(name))
    _register_process_group(GroupName(name), group)
    return group


def _abort(group: dist.ProcessGroup) -> None:
    group.abort()
    _unregister_process_group(group.group_name)


def _share_memory(block: Block, device: torch.device) -> bool:
    """Whether every device of the block can write into every other's memory."""
    return device.type == "cuda" and all(
        torch.cuda.can_device_access_peer(a, b) for a, b in itertools.permutations(block, 2)
    )


def _warm(group: dist.ProcessGroup, size: int, device: torch.device) -> None:
    """The first collective of a group builds its connections; later ones must not pay for that."""
    given = torch.zeros(size, device=device)
    dist.all_to_all_single(torch.empty_like(given), given, group=group)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
