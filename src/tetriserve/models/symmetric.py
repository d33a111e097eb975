"""Exchanges in which the devices of a group write straight into each other's memory.

The kernel that normalises and rotates q, k and v writes each head where it will be attended to; the exchange costs the
bytes on the link and two barriers, and no packing. Source: PyTorch symmetric memory; multicast is not used.

Why one buffer each way is enough: a rank writes the q, k, v of a block into another's buffer only after the barrier
that followed the previous block's attention there, and outputs only after a barrier that followed the previous
block's projection there.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tetriserve.models import head_kernels
from tetriserve.models.fused import QKNorms, Rotary
from tetriserve.models.ulysses import TokenSplit, split_sizes


class PeerMemory:
    """A group's buffer on this device and the addresses of the others': `num_bytes` each way, made together."""

    def __init__(self, group: dist.ProcessGroup, device: torch.device, num_bytes: int) -> None:
        import torch.distributed._symmetric_memory as symmetric_memory  # noqa: PLC0415

        self.num_bytes = num_bytes
        self._buffer = symmetric_memory.empty(2 * num_bytes, dtype=torch.uint8, device=device)
        self._handle: Any = symmetric_memory.rendezvous(self._buffer, group)
        addresses = torch.tensor(self._handle.buffer_ptrs, dtype=torch.int64, device=device)
        self.peers = (addresses, addresses + num_bytes)

    def exchange(self, split: TokenSplit, num_heads: int) -> "HeadExchange":
        """The exchanges of sequences that are split like `split`."""
        starts = [sum(split.lengths[:rank]) for rank in range(split.group.degree + 1)]
        offsets = torch.tensor(starts, dtype=torch.int32, device=self._buffer.device)
        return HeadExchange(self, split, num_heads, offsets)

    def local(self, half: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """This device's buffer of one direction as a tensor."""
        size = torch.Size(shape).numel() * dtype.itemsize
        assert size <= self.num_bytes, f"{size:,} bytes in a buffer of {self.num_bytes:,}"
        return self._buffer[half * self.num_bytes :][:size].view(dtype).view(shape)

    def barrier(self) -> None:
        """What the others wrote before is here afterwards."""
        self._handle.barrier(channel=0)


@dataclass(frozen=True, slots=True)
class HeadExchange:
    """The two exchanges around attention for one shape. Letters as in `ulysses`."""

    memory: PeerMemory
    split: TokenSplit
    num_heads: int
    offsets: Tensor

    def to_heads(self, qkv: Tensor, norms: QKNorms | None, rotary: Rotary | None, num_text: int) -> Tensor:
        """(l, B, 3, H, W), not yet normalised -> (L, B, 3, h, W), normalised and rotated; valid until the next call."""
        group = self.split.group
        _, batch, _, num_heads, width = qkv.shape
        own_heads = split_sizes(num_heads, group.degree)[group.rank]
        head_kernels.push_heads(qkv, norms, rotary, num_text, self.memory.peers[0], self.split.offset, group.degree)
        self.memory.barrier()
        return self.memory.local(0, (sum(self.split.lengths), batch, 3, own_heads, width), qkv.dtype)

    def to_tokens(self, out: Tensor) -> Tensor:
        """(L, B, h, W) -> (l, B, H, W), valid until the next call."""
        group = self.split.group
        _, batch, _, width = out.shape
        first_head = sum(split_sizes(self.num_heads, group.degree)[: group.rank])
        head_kernels.push_tokens(
            out.contiguous(), self.memory.peers[1], self.offsets, self.num_heads, first_head, group.degree
        )
        self.memory.barrier()
        return self.memory.local(1, (self.split.own_length, batch, self.num_heads, width), out.dtype)
