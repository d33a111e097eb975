"""Matrix products in 8-bit floating point: twice the arithmetic a second, and an image that differs a little.

Weights are e4m3 with one scale for each output, made once; activations are e4m3 with one scale for each token, found
as they come. Sums are fp32, results the network's own dtype. Needs compute capability 8.9.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from tetriserve.models.fused import Quantized, quantize
from tetriserve.models.linear import Linear, Mlp
from tetriserve.models.transformer_blocks import (
    Block,
    ImageAttention,
    JointBlock,
    LastJointBlock,
    SingleBlock,
    StreamWeights,
)

ALIGNMENT = 16
"""What inputs and outputs must be multiples of."""


@dataclass(frozen=True, slots=True)
class Linear8:
    """A `Linear` in 8 bits: weight (N, K), its scales (1, N), bias (N,)."""

    weight: Tensor
    scales: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, linear: Linear) -> "Linear8":
        """Quantize a layer's weights."""
        weight = quantize(linear.weight.contiguous())
        return cls(weight.values, weight.scales.t().contiguous(), linear.bias)

    def enter(self, x: Tensor) -> Quantized:
        """Quantize once for several products."""
        return quantize(x)

    def __call__(self, x: Tensor | Quantized, out: Tensor | None = None) -> Tensor:
        """(..., K) -> (..., N), into `out` if given."""
        given = quantize(x) if isinstance(x, Tensor) else x
        product = torch._scaled_mm(
            given.values.flatten(0, -2),
            self.weight.t(),
            scale_a=given.scales.flatten(0, -2),
            scale_b=self.scales,
            bias=self.bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
        made = torch.unflatten(product, 0, given.values.shape[:-1])
        return made if out is None else out.copy_(made)

    def add_to(self, x: Tensor | Quantized, out: Tensor) -> Tensor:
        """out += x W^T, in place."""
        return out.add_(self(x))


@dataclass(frozen=True, slots=True)
class Mlp8:
    """An `Mlp` in 8 bits: GELU is part of the pass that quantizes what the second layer gets."""

    up: Linear8
    down: Linear8

    def __call__(self, x: Tensor | Quantized, out: Tensor | None = None) -> Tensor:
        """(..., K) -> (..., N), into `out` if given."""
        return self.down(quantize(self.up(x), gelu=True), out)

    def add_to(self, x: Tensor | Quantized, out: Tensor) -> Tensor:
        """The same, added to `out` in place."""
        return out.add_(self(x))


def quantized(block: Block) -> Block:
    """A block whose layers are in 8 bits, as far as their widths allow."""
    converted: Block = _converted(block)
    return converted


def _converted(part: Any) -> Any:
    """A copy of a block, or of a part of one, with its layers converted."""
    match part:
        case Linear():
            fits = not any(size % ALIGNMENT for size in part.weight.shape)
            return Linear8.of(part) if fits else part
        case Mlp():
            up, down = _converted(part.up), _converted(part.down)
            return Mlp8(up, down) if isinstance(up, Linear8) and isinstance(down, Linear8) else part
        case JointBlock() | LastJointBlock() | SingleBlock() | StreamWeights() | ImageAttention():
            return replace(part, **{f.name: _converted(getattr(part, f.name)) for f in fields(part)})
    return part
