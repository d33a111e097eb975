"""Ulysses sequence parallelism: who holds which tokens, and the exchange around attention. Knows no model.

Between attentions a rank holds some tokens of all heads; in attention, all tokens of some heads. Token and head
counts need not be divisible by the degree: every rank computes every split size from the totals, so nothing is padded
and no sizes are exchanged. Source: DeepSpeed-Ulysses, arXiv 2309.14509; differs: one packed exchange for q, k and v.

Tensor letters: B batch, L all tokens, l this rank's tokens, H all heads, h this rank's heads, W head width.
Tokens come first, so that what goes to a rank or comes from it is contiguous for any batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from tetriserve.models.symmetric import PeerMemory


class ExchangeError(Exception):
    """Another rank is gone, or has left the exchange: what this one was computing can't be finished."""


class Link:
    """A process group that can be cut: whoever exchanges with this rank then gets an ExchangeError, and so does it.

    Gloo closes its sockets when nobody refers to a group any more; for others `on_cut` ends it.
    """

    def __init__(
        self, process_group: dist.ProcessGroup, on_cut: Callable[[dist.ProcessGroup], None] = lambda group: None
    ) -> None:
        self._process_group: dist.ProcessGroup | None = process_group
        self._on_cut = on_cut

    @property
    def process_group(self) -> dist.ProcessGroup:
        """Raises ExchangeError if this has been cut."""
        if self._process_group is None:
            raise ExchangeError("the group was cut")
        return self._process_group

    def cut(self) -> None:
        """Nothing can be exchanged any more."""
        process_group, self._process_group = self._process_group, None
        if process_group is not None:
            self._on_cut(process_group)


@dataclass(frozen=True, slots=True, eq=False)
class SequenceGroup:
    """The devices that work on one step together, seen from one of them.

    `half` is the group of those in the same half of the block. `memory`, where the devices can write to each other's,
    makes exchanges without the process group.
    """

    rank: int = 0
    degree: int = 1
    link: Link | None = None
    half: "SequenceGroup | None" = None
    memory: "PeerMemory | None" = None


ALONE = SequenceGroup()
"""Degree 1: nobody to exchange with."""


def split_sizes(total: int, parts: int) -> tuple[int, ...]:
    """`total` in `parts` shares that differ by at most one, larger ones first."""
    share, rest = divmod(total, parts)
    return tuple(share + (i < rest) for i in range(parts))


@dataclass(frozen=True, slots=True)
class TokenSplit:
    """How a sequence is spread over a group: rank i holds `lengths[i]` consecutive tokens."""

    group: SequenceGroup
    lengths: tuple[int, ...]

    @classmethod
    def even(cls, num_tokens: int, group: SequenceGroup) -> Self:
        """The most even split of `num_tokens`."""
        return cls(group, split_sizes(num_tokens, group.degree))

    @property
    def own_length(self) -> int:
        """Tokens of this rank."""
        return self.lengths[self.group.rank]

    @property
    def offset(self) -> int:
        """Tokens of the ranks before this one."""
        return sum(self.lengths[: self.group.rank])

    def joined(self, other: "TokenSplit") -> "TokenSplit":
        """The split of a joint sequence of which every rank holds its tokens of both."""
        return TokenSplit(self.group, tuple(a + b for a, b in zip(self.lengths, other.lengths, strict=True)))

    def shard(self, x: Tensor, dim: int = 0) -> Tensor:
        """This rank's part of `x` along `dim`: a view."""
        if self.group.degree == 1:
            return x
        return x.narrow(dim, self.offset, self.own_length)

    def gather(self, shard: Tensor) -> Tensor:
        """(l, ...) of every rank -> (L, ...) on every rank."""
        if self.group.degree == 1:
            return shard
        per_token = shard[0].numel() if self.own_length else shard.new_empty(shard.shape[1:]).numel()
        send = shard.reshape(1, -1).expand(self.group.degree, -1).reshape(-1)
        whole = exchange(
            send,
            [self.own_length * per_token] * self.group.degree,
            [length * per_token for length in self.lengths],
            self.group,
        )
        return whole.view(sum(self.lengths), *shard.shape[1:])


def to_heads(qkv: Tensor, split: TokenSplit) -> Tensor:
    """(l, B, 3, H, W) -> (L, B, 3, h, W). Tokens come grouped by rank, which attention doesn't mind."""
    group = split.group
    _, B, three, H, W = qkv.shape
    heads = split_sizes(H, group.degree)
    per_token = B * three * W
    own_heads = heads[group.rank]
    received = exchange(
        _by_heads(qkv, heads),
        [split.own_length * h * per_token for h in heads],
        [length * own_heads * per_token for length in split.lengths],
        group,
    )
    return received.view(sum(split.lengths), B, three, own_heads, W)


def to_tokens(out: Tensor, num_heads: int, split: TokenSplit) -> Tensor:
    """(L, B, h, W) -> (l, B, H, W): the way back."""
    group = split.group
    _, B, own_heads, W = out.shape
    heads = split_sizes(num_heads, group.degree)
    sizes = [split.own_length * B * h * W for h in heads]
    received = exchange(out.reshape(-1), [length * B * own_heads * W for length in split.lengths], sizes, group)
    parts = torch.split(received, sizes)
    return torch.cat([x.view(split.own_length, B, h, W) for x, h in zip(parts, heads, strict=True)], dim=2)


def swap(x: Tensor, group: SequenceGroup) -> Tensor:
    """The tensor that the rank at the same place in the other half of the group gives for `x`."""
    partner = (group.rank + group.degree // 2) % group.degree
    sizes = [x.numel() if rank == partner else 0 for rank in range(group.degree)]
    return exchange(x.reshape(-1), sizes, sizes, group).view_as(x)


def exchange(send: Tensor, send_sizes: Sequence[int], receive_sizes: Sequence[int], group: SequenceGroup) -> Tensor:
    """One all-to-all of flat tensors; sizes are numbers of elements, by rank. Raises ExchangeError."""
    assert group.link is not None
    received = send.new_empty(sum(receive_sizes))
    process_group = group.link.process_group
    try:
        dist.all_to_all_single(received, send, list(receive_sizes), list(send_sizes), group=process_group)
    except RuntimeError as error:
        raise ExchangeError(str(error)) from None
    return received


def _by_heads(qkv: Tensor, heads: tuple[int, ...]) -> Tensor:
    """(l, B, 3, H, W) -> flat, one block of (l, B, 3, h, W) for each rank."""
    return torch.cat([part.reshape(-1) for part in torch.split(qkv, list(heads), dim=3)])
