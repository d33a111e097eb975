"""Matrix products with weights: bias and GELU in the product's own epilogue where the library has one."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Product(Protocol):
    """A layer in some number format. `entered` tokens are what its `enter` makes of (..., K) of them."""

    @property
    def weight(self) -> Tensor:
        """(N, K)."""
        ...

    def enter(self, x: Tensor) -> Any:
        """Bring tokens into the format that these products want; once for several products of the same tokens."""
        ...

    def __call__(self, x: Any, out: Tensor | None = None) -> Tensor:
        """Tokens, entered or not, -> (..., N), into `out` if given."""
        ...

    def add_to(self, x: Any, out: Tensor) -> Tensor:
        """The same, added to `out` in place."""
        ...


class FeedForward(Protocol):
    """Two layers with GELU (tanh approximation) between them, in some number format."""

    def __call__(self, x: Any, out: Tensor | None = None) -> Tensor:
        """Tokens, entered or not, -> (..., N), into `out` if given."""
        ...

    def add_to(self, x: Any, out: Tensor) -> Tensor:
        """The same, added to `out` in place."""
        ...


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x W^T + b, with W (N, K) and b (N,). Rows of x are whatever all leading dimensions hold."""

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, *modules: nn.Linear) -> Self:
        """The layers of one input side by side: their outputs follow each other along N."""
        if len(modules) == 1:
            return cls(modules[0].weight, modules[0].bias)
        biases = [module.bias.data for module in modules if module.bias is not None]
        assert len(biases) in (0, len(modules))
        return cls(torch.cat([module.weight.data for module in modules]), torch.cat(biases) if biases else None)

    def enter(self, x: Tensor) -> Tensor:
        """Tokens as they are."""
        return x

    def split_inputs(self, first: int) -> tuple["Linear", "Linear"]:
        """The same layer as a sum of two, for an input that comes in two parts of which the first is `first` wide."""
        return Linear(self.weight[:, :first], self.bias), Linear(self.weight[:, first:], None)

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(..., K) -> (..., N), into `out` if given."""
        if out is None:
            return F.linear(x, self.weight, self.bias)
        rows, target = x.flatten(0, -2), out.flatten(0, -2)
        if self.bias is None:
            torch.mm(rows, self.weight.t(), out=target)
        else:
            torch.addmm(self.bias, rows, self.weight.t(), out=target)
        return out

    def add_to(self, x: Tensor, out: Tensor) -> Tensor:
        """out += x W^T, in place; only for layers without bias."""
        assert self.bias is None
        out.flatten(0, -2).addmm_(x.flatten(0, -2), self.weight.t())
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """GELU (tanh approximation) of the product, which cuBLASLt computes in its epilogue."""
        if not x.is_cuda or self.bias is None:
            return F.gelu(F.linear(x, self.weight, self.bias), approximate="tanh")
        rows: Tensor = torch._addmm_activation(self.bias, x.flatten(0, -2), self.weight.t(), use_gelu=True)
        return torch.unflatten(rows, 0, x.shape[:-1])


@dataclass(frozen=True, slots=True)
class Mlp:
    """Implements FeedForward on plain layers; the sum that `add_to` makes needs a `down` without bias."""

    up: Linear
    down: Linear

    def __call__(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(..., K) -> (..., N), into `out` if given."""
        return self.down(self.up.gelu(x), out)

    def add_to(self, x: Tensor, out: Tensor) -> Tensor:
        """The same, added to `out` in place."""
        return self.down.add_to(self.up.gelu(x), out)
