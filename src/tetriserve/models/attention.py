"""Attention over the joint sequence of a group: from this rank's projected q, k and v to its tokens' outputs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from tetriserve.models.fused import QKNorms, Rotary, norm_and_rotate
from tetriserve.models.program import Layout
from tetriserve.models.ulysses import TokenSplit, split_sizes, to_heads, to_tokens

if TYPE_CHECKING:
    from tetriserve.models.symmetric import HeadExchange

MAX_ITEM_BYTES = 4


@dataclass(frozen=True, slots=True)
class HeadsShape:
    """The attention heads of a network."""

    num_heads: int
    width: int


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without mask over (L, B, H, W). The one call that every model's attention ends in."""
    out = F.scaled_dot_product_attention(q.permute(1, 2, 0, 3), k.permute(1, 2, 0, 3), v.permute(1, 2, 0, 3))
    return out.permute(2, 0, 1, 3)


@dataclass(frozen=True, slots=True)
class JointAttention:
    """Attention for one shape: text tokens first, then image tokens, each rank holding its share of both.

    `rotary` holds the angles of this rank's tokens. `direct` exchanges through the devices' own memory. `image` is
    attention among the image tokens alone, for networks that have such, too.
    """

    num_heads: int
    split: TokenSplit
    num_text: int
    rotary: Rotary | None = None
    direct: "HeadExchange | None" = None
    image: "JointAttention | None" = None

    @classmethod
    def of(cls, layout: Layout, heads: HeadsShape, rotary: Rotary | None, device: torch.device) -> "JointAttention":
        """Attention for a layout: through the devices' memory where the group has some that is large enough."""
        exchanges = [_direct(layout, split, heads, device) for split in (layout.joint, layout.image)]
        image = cls(heads.num_heads, layout.image, 0, direct=exchanges[1])
        return cls(heads.num_heads, layout.joint, layout.text.own_length, rotary, exchanges[0], image)

    def __call__(self, projected: Tensor, norms: QKNorms | None) -> Tensor:
        """(l, B, 3·H·W), which may be overwritten -> (l, B, H·W)."""
        qkv = torch.unflatten(projected, -1, (3, self.num_heads, -1))
        if self.direct is not None:
            received = self.direct.to_heads(qkv, norms, self.rotary, self.num_text)
            return self.direct.to_tokens(attention(*received.unbind(2))).flatten(2)
        norm_and_rotate(qkv, norms, self.rotary, self.num_text)
        if self.split.group.degree == 1:
            return attention(*qkv.unbind(2)).flatten(2)
        out = attention(*to_heads(qkv, self.split).unbind(2))
        return to_tokens(out, self.num_heads, self.split).flatten(2)


def _direct(layout: Layout, split: TokenSplit, heads: HeadsShape, device: torch.device) -> "HeadExchange | None":
    memory = split.group.memory
    if memory is None or memory.num_bytes < exchange_bytes(layout, heads):
        return None
    from tetriserve.models.symmetric import HeadExchange  # noqa: PLC0415  (needs Triton)

    return HeadExchange.of(memory, split, heads.num_heads, device)


def exchange_bytes(layout: Layout, heads: HeadsShape) -> int:
    """Room that q, k and v of a rank's heads need, which is more than the outputs do, in the widest dtype."""
    own_heads = split_sizes(heads.num_heads, layout.joint.group.degree)[0]
    return sum(layout.joint.lengths) * layout.rows * 3 * own_heads * heads.width * MAX_ITEM_BYTES
