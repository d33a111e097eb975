"""The two kinds of blocks that multimodal diffusion transformers are made of, as few passes over memory as they allow.

Both work on a joint sequence (n, B, D) of text tokens and then image tokens, and on what normalising and modulating it
gave; both return the latter for the next block, because a residual and the next norm are one pass (`fused`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tetriserve.models.fused import Modulation, QKNorms, residual_norm_modulate
from tetriserve.models.linear import Linear

NORM_EPS = 1e-6

Attention = Callable[[Tensor, QKNorms | None], Tensor]
"""(n, B, 3·D) -> (n, B, D): see `attention.JointAttention`."""


@dataclass(frozen=True, slots=True)
class Residual:
    """A joint sequence in flight: the residual stream `x` (n, B, D) and this step's modulations (B, K, D)."""

    x: Tensor
    table: Tensor
    num_text: int

    def add(self, branch: Tensor | None, where: Modulation) -> Tensor:
        """Add a gated branch and return the stream, normalised and modulated."""
        return residual_norm_modulate(self.x, branch, self.table, where, self.num_text, NORM_EPS)


@dataclass(frozen=True, slots=True)
class StreamWeights:
    """What text tokens or image tokens have of their own in a joint block."""

    qkv: Linear
    out: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class JointBlock:
    """Two streams with weights of their own and one attention: the double block of FLUX, SD3's and Qwen-Image's block.

    `after_attention` and `after_mlp` say where gates and the modulation of what follows stand.
    """

    text: StreamWeights
    image: StreamWeights
    norms: QKNorms | None
    after_attention: Modulation
    after_mlp: Modulation

    def __call__(self, residual: Residual, y: Tensor, attention: Attention) -> Tensor:
        """`y` (n, B, D), the modulated input -> that of the next block."""
        num_text = residual.num_text
        qkv = _wide(y, self.image.qkv)
        self.text.qkv(y[:num_text], out=qkv[:num_text])
        self.image.qkv(y[num_text:], out=qkv[num_text:])
        attended = attention(qkv, self.norms)
        branch = torch.empty_like(y)
        self.text.out(attended[:num_text], out=branch[:num_text])
        self.image.out(attended[num_text:], out=branch[num_text:])
        y = residual.add(branch, self.after_attention)
        hidden = _wide(y, self.image.up)
        self.text.up.gelu(y[:num_text], out=hidden[:num_text])
        self.image.up.gelu(y[num_text:], out=hidden[num_text:])
        self.text.down(hidden[:num_text], out=branch[:num_text])
        self.image.down(hidden[num_text:], out=branch[num_text:])
        return residual.add(branch, self.after_mlp)


@dataclass(frozen=True, slots=True)
class SingleBlock:
    """One set of weights for all tokens, attention and MLP side by side: the single block of FLUX."""

    qkv: Linear
    up: Linear
    out_attention: Linear
    out_mlp: Linear
    norms: QKNorms
    after: Modulation

    def __call__(self, residual: Residual, y: Tensor, attention: Attention) -> Tensor:
        """`y` (n, B, D), the modulated input -> that of the next block."""
        attended = attention(self.qkv(y), self.norms)
        branch = self.out_attention(attended)
        self.out_mlp.add_to(self.up.gelu(y), branch)
        return residual.add(branch, self.after)


def _wide(x: Tensor, linear: Linear) -> Tensor:
    """Room for the output of `linear` for all tokens of `x`."""
    return x.new_empty(*x.shape[:-1], linear.weight.shape[0])
