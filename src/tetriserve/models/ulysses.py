"""Ulysses sequence parallelism: who holds which tokens, and the exchange around attention. Knows no model.

Between attentions a rank holds some tokens of all heads; in attention, all tokens of some heads. Token and head
counts need not be divisible by the degree: every rank computes every split size from the totals, so nothing is padded
and no sizes are exchanged. Source: DeepSpeed-Ulysses, arXiv 2309.14509; differs: one packed exchange for q, k and v.

Tensor letters: B batch, L all tokens, l this rank's tokens, H all heads, h this rank's heads, D head width.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SequenceGroup:
    """The devices that work on one step together, seen from one of them."""

    rank: int = 0
    degree: int = 1
    process_group: dist.ProcessGroup | None = None


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

    def joined(self, other: "TokenSplit") -> "TokenSplit":
        """The split of a joint sequence of which every rank holds its tokens of both."""
        return TokenSplit(self.group, tuple(a + b for a, b in zip(self.lengths, other.lengths, strict=True)))

    def shard(self, x: Tensor, dim: int) -> Tensor:
        """This rank's part of `x` along `dim`: a view."""
        if self.group.degree == 1:
            return x
        return x.narrow(dim, sum(self.lengths[: self.group.rank]), self.lengths[self.group.rank])

    def gather(self, shard: Tensor) -> Tensor:
        """(1, l, C) of every rank -> (1, L, C) on every rank."""
        if self.group.degree == 1:
            return shard
        _, own_length, channels = shard.shape
        send = shard.reshape(1, -1).expand(self.group.degree, -1).reshape(-1)
        whole = _exchange(
            send,
            [own_length * channels] * self.group.degree,
            [length * channels for length in self.lengths],
            self.group,
        )
        return whole.view(1, sum(self.lengths), channels)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without mask over (B, L, H, D). The one call that every model's attention ends in."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2)


def ulysses_attention(q: Tensor, k: Tensor, v: Tensor, split: TokenSplit) -> Tensor:
    """Attention over all tokens of a group: (B, l, H, D) -> (B, l, H, D) in two exchanges."""
    if split.group.degree == 1:
        return attention(q, k, v)
    num_heads = q.shape[2]
    return _to_tokens(attention(*_to_heads(q, k, v, split)), num_heads, split)


def _to_heads(q: Tensor, k: Tensor, v: Tensor, split: TokenSplit) -> tuple[Tensor, ...]:
    """Three (B, l, H, D) -> three (B, L, h, D). Tokens come grouped by rank, which attention doesn't mind."""
    group = split.group
    B, own_length, H, D = q.shape
    heads = split_sizes(H, group.degree)
    own_heads = heads[group.rank]
    packed = torch.stack((q, k, v), dim=3).transpose(0, 1)  # l B H 3 D
    received = _exchange(
        _by_heads(packed, heads),
        [own_length * B * h * 3 * D for h in heads],
        [length * B * own_heads * 3 * D for length in split.lengths],
        group,
    )
    return received.view(sum(split.lengths), B, own_heads, 3, D).transpose(0, 1).unbind(3)


def _to_tokens(out: Tensor, num_heads: int, split: TokenSplit) -> Tensor:
    """(B, L, h, D) -> (B, l, H, D): the way back."""
    group = split.group
    B, _, own_heads, D = out.shape
    own_length = split.lengths[group.rank]
    heads = split_sizes(num_heads, group.degree)
    sizes = [own_length * B * h * D for h in heads]
    received = _exchange(
        out.transpose(0, 1).reshape(-1), [length * B * own_heads * D for length in split.lengths], sizes, group
    )
    parts = [part.view(own_length, B, h, D) for part, h in zip(torch.split(received, sizes), heads, strict=True)]
    return torch.cat(parts, dim=2).transpose(0, 1)


def _by_heads(packed: Tensor, heads: tuple[int, ...]) -> Tensor:
    """(l, B, H, 3, D) -> flat, one block of (l, B, h, 3, D) for each rank."""
    if heads[0] == heads[-1]:
        return torch.unflatten(packed, 2, (len(heads), heads[0])).movedim(2, 0).reshape(-1)
    return torch.cat([part.reshape(-1) for part in torch.split(packed, list(heads), dim=2)])


def _exchange(send: Tensor, send_sizes: list[int], receive_sizes: list[int], group: SequenceGroup) -> Tensor:
    """One all-to-all of flat tensors; sizes are numbers of elements, by rank."""
    received = send.new_empty(sum(receive_sizes))
    dist.all_to_all_single(received, send, receive_sizes, send_sizes, group=group.process_group)
    return received
