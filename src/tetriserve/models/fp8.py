"""Matrix products in 8-bit floating point: twice the arithmetic a second, and an image that differs a little.

Weights are e4m3 with one scale for each output, made once; activations are e4m3 with one scale for each token, found
as they come. Sums are fp32, results the network's own dtype. Needs compute capability 8.9.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tetriserve.models.fused import Quantized, quantize
from tetriserve.models.linear import Linear

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
