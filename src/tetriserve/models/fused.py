"""What happens to tokens between matrix products, each as one pass over memory: Triton on GPUs, plain torch elsewhere.

The plain versions are the definition; `kernels` and `head_kernels` compute the same in fp32 inside. Tokens come first,
then the batch: a joint sequence (n, B, ...) holds `num_text` text tokens and then image tokens, so the tokens of one
stream are contiguous rows for any batch.

Letters: n this rank's tokens, B batch, D width, H heads, W head width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

try:
    from tetriserve.models import head_kernels, kernels
except ImportError:  # no Triton: there is no GPU either
    kernels = None  # type: ignore[assignment]


LARGEST_8_BIT = torch.finfo(torch.float8_e4m3fn).max
SMALLEST_SCALE = 1e-12
"""So that a token of zeros has a scale at all."""


class Streams(NamedTuple):
    """Something that text tokens and image tokens have each their own of."""

    text: int
    image: int


@dataclass(frozen=True, slots=True)
class Modulation:
    """Where in a table of modulations (B, K, D) shift and scale stand, and the gate of the residual before them."""

    shift: Streams
    scale: Streams
    gate: Streams | None = None


@dataclass(frozen=True, slots=True)
class QKNorms:
    """RMS-norm weights (W,) of queries and keys, of text and image tokens."""

    q_text: Tensor
    q_image: Tensor
    k_text: Tensor
    k_image: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class Rotary:
    """Rotary position embedding: cos and sin (n, W/2) in fp32, one for each pair of neighbouring components."""

    cos: Tensor
    sin: Tensor


class Quantized(NamedTuple):
    """Tokens in 8 bits (..., K) and the scale of each, fp32 (..., 1)."""

    values: Tensor
    scales: Tensor

    def tokens(self, which: slice) -> "Quantized":
        """Some of the tokens."""
        return Quantized(self.values[which], self.scales[which])


def residual_norm_modulate(
    x: Tensor, branch: Tensor | None, table: Tensor, where: Modulation, num_text: int, eps: float
) -> Tensor:
    """x += gate * branch, in place; returns LayerNorm(x) * (1 + scale) + shift. All (n, B, D); table (B, K, D)."""
    if kernels is not None and x.is_cuda:
        return kernels.residual_norm_modulate(x, branch, table, where, num_text, eps)
    y = torch.empty_like(x)
    for stream, rows in enumerate((slice(None, num_text), slice(num_text, None))):
        part = x[rows]
        if branch is not None:
            assert where.gate is not None
            part.addcmul_(branch[rows], table[:, where.gate[stream]])
        normed = F.layer_norm(part, part.shape[-1:], eps=eps)
        y[rows] = torch.addcmul(table[:, where.shift[stream]], normed, 1 + table[:, where.scale[stream]])
    return y


def norm_and_rotate(qkv: Tensor, norms: QKNorms | None, rotary: Rotary | None, num_text: int) -> None:
    """RMS-normalise and rotate queries and keys of (n, B, 3, H, W) in place."""
    if kernels is not None and qkv.is_cuda:
        head_kernels.norm_and_rotate(qkv, norms, rotary, num_text)
        return
    for which in range(2):
        x = qkv[:, :, which]
        if norms is not None:
            weights = (norms.q_text, norms.q_image) if which == 0 else (norms.k_text, norms.k_image)
            x[:num_text] = F.rms_norm(x[:num_text], x.shape[-1:], weights[0], norms.eps)
            x[num_text:] = F.rms_norm(x[num_text:], x.shape[-1:], weights[1], norms.eps)
        if rotary is not None:
            x.copy_(_rotated(x, rotary))


def quantize(x: Tensor, *, gelu: bool = False) -> Quantized:
    """(..., K), after GELU (tanh approximation) if asked for; each token's largest becomes the format's largest."""
    if kernels is not None and x.is_cuda:
        return Quantized(*kernels.quantize(x.contiguous(), LARGEST_8_BIT, SMALLEST_SCALE, gelu=gelu))
    wide = F.gelu(x.float(), approximate="tanh") if gelu else x.float()
    scales = (wide.abs().amax(dim=-1, keepdim=True) / LARGEST_8_BIT).clamp(min=SMALLEST_SCALE)
    return Quantized((wide / scales).to(torch.float8_e4m3fn), scales)


def _rotated(x: Tensor, rotary: Rotary) -> Tensor:
    """(n, B, H, W), each pair of components turned by its token's angle."""
    even, odd = x.float().view(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = rotary.cos[:, None, None], rotary.sin[:, None, None]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2).to(x.dtype)
