"""Attention over the joint sequence of a group, from projected q, k and v to the heads' output, on this rank's tokens."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from tetriserve.models.fused import QKNorms, Rotary, norm_and_rotate
from tetriserve.models.ulysses import TokenSplit, to_heads, to_tokens

if TYPE_CHECKING:
    from tetriserve.models.symmetric import HeadExchange


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention without mask over (L, B, H, W). The one call that every model's attention ends in."""
    out = F.scaled_dot_product_attention(*(x.permute(1, 2, 0, 3) for x in (q, k, v)))
    return out.permute(2, 0, 1, 3)


@dataclass(frozen=True, slots=True)
class JointAttention:
    """Attention for one shape: text tokens first, then image tokens, each rank holding its share of both.

    `rotary` holds the angles of this rank's tokens. `direct` exchanges through the devices' own memory.
    """

    num_heads: int
    split: TokenSplit
    num_text: int
    rotary: Rotary | None = None
    direct: "HeadExchange | None" = None

    def __call__(self, projected: Tensor, norms: QKNorms | None) -> Tensor:
        """(l, B, 3·H·W), which may be overwritten -> (l, B, H·W)."""
        qkv = projected.unflatten(-1, (3, self.num_heads, -1))
        if self.direct is not None:
            received = self.direct.to_heads(qkv, norms, self.rotary, self.num_text)
            return self.direct.to_tokens(attention(*received.unbind(2))).flatten(2)
        norm_and_rotate(qkv, norms, self.rotary, self.num_text)
        if self.split.group.degree == 1:
            return attention(*qkv.unbind(2)).flatten(2)
        out = attention(*to_heads(qkv, self.split).unbind(2))
        return to_tokens(out, self.num_heads, self.split).flatten(2)
