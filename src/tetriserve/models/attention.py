"""Attention over the joint sequence of a group: from this rank's projected q, k and v to its tokens' outputs."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from tetriserve.models.fused import QKNorms, Rotary, norm_and_rotate
from tetriserve.models.gpu_clock import milliseconds
from tetriserve.models.program import Layout
from tetriserve.models.ulysses import TokenSplit, split_sizes, to_heads, to_tokens

if TYPE_CHECKING:
    from tetriserve.models.symmetric import HeadExchange

CANDIDATES = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)


@dataclass(frozen=True, slots=True)
class HeadsShape:
    """The attention heads of a network, and the format they come in."""

    num_heads: int
    width: int
    dtype: torch.dtype


def attention(qkv: Tensor, backend: SDPBackend | None = None, mask: Tensor | None = None) -> Tensor:
    """(L, B, 3, H, W) -> (L, B, H, W). The one call that every model's attention ends in.

    Without a `backend`, torch chooses. `mask` (B, 1, 1, L) is true for tokens that are attended to.
    """
    q, k, v = qkv.permute(2, 1, 3, 0, 4).unbind(0)
    with nullcontext() if backend is None else sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q, k, v, mask).permute(2, 0, 1, 3)


def fastest_backend(
    shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device, *, masked: bool = False
) -> SDPBackend | None:
    """The fastest way to attend on this GPU over (L, B, H, W), strided as a projection leaves q, k and v."""
    tokens, batch, heads, width = shape
    qkv = torch.randn(tokens, batch, 3, heads, width, dtype=dtype, device=device)
    mask = torch.ones(batch, 1, 1, tokens, dtype=torch.bool, device=device) if masked else None
    times = {}
    for backend in CANDIDATES:
        try:
            times[backend] = milliseconds(partial(attention, qkv, backend, mask))
        except RuntimeError:  # torch's word for a backend that doesn't do this dtype or shape
            continue
    return min(times, key=times.__getitem__, default=None)


@dataclass(frozen=True, slots=True)
class JointAttention:
    """Attention for one shape: text tokens first, then image tokens, each rank holding its share of both.

    `rotary` holds the angles of this rank's tokens. `mask` is as in `attention`, in the order of `split`. `direct`
    exchanges through the devices' own memory. `image` is attention among the image tokens alone, for networks that have
    such, too.
    """

    num_heads: int
    split: TokenSplit
    num_text: int
    rotary: Rotary | None = None
    direct: "HeadExchange | None" = None
    backend: SDPBackend | None = None
    image: "JointAttention | None" = None
    mask: Tensor | None = None

    @classmethod
    def of(
        cls,
        layout: Layout,
        heads: HeadsShape,
        device: torch.device,
        rotary: Rotary | None = None,
        *,
        image_alone: bool = False,
        masked: bool = False,
    ) -> "JointAttention":
        """Attention for a layout; with `image_alone` also over its image tokens, as `image`. Will it be `masked`?"""
        image = _made_for(layout.image, layout.rows, heads, device) if image_alone else None
        joint = _made_for(layout.joint, layout.rows, heads, device, masked=masked)
        return replace(joint, num_text=layout.text.own_length, rotary=rotary, image=image)

    def __call__(self, projected: Tensor, norms: QKNorms | None) -> Tensor:
        """(l, B, 3·H·W), which may be overwritten -> (l, B, H·W)."""
        qkv = torch.unflatten(projected, -1, (3, self.num_heads, -1))
        if self.direct is not None:
            received = self.direct.to_heads(qkv, norms, self.rotary, self.num_text)
            return self.direct.to_tokens(attention(received, self.backend, self.mask)).flatten(2)
        norm_and_rotate(qkv, norms, self.rotary, self.num_text)
        if self.split.group.degree == 1:
            return attention(qkv, self.backend, self.mask).flatten(2)
        out = attention(to_heads(qkv, self.split), self.backend, self.mask)
        return to_tokens(out, self.num_heads, self.split).flatten(2)


def _made_for(
    split: TokenSplit, rows: int, heads: HeadsShape, device: torch.device, *, masked: bool = False
) -> JointAttention:
    """Attention over one sequence: by the fastest backend, and through the devices' memory where that has room."""
    group, num_tokens = split.group, sum(split.lengths)
    backend = None
    if device.type == "cuda":
        own_heads = split_sizes(heads.num_heads, group.degree)[group.rank]
        shape = (num_tokens, rows, own_heads, heads.width)
        backend = fastest_backend(shape, heads.dtype, device, masked=masked)
    direct = None
    if group.memory is not None and exchange_bytes(num_tokens, rows, group.degree, heads) <= group.memory.num_bytes:
        direct = group.memory.exchange(split, heads.num_heads)
    return JointAttention(heads.num_heads, split, 0, None, direct, backend)


def exchange_bytes(num_tokens: int, rows: int, degree: int, heads: HeadsShape) -> int:
    """Room that q, k and v of a rank's heads need, which is more than the outputs do."""
    own_heads = split_sizes(heads.num_heads, degree)[0]
    return num_tokens * rows * 3 * own_heads * heads.width * heads.dtype.itemsize
