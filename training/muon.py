"""The optimizer: Muon for the hidden matrices, AdamW for everything else.

Muon orthogonalises the momentum of each matrix; matrices of one shape go in one batch: few launches a step.
Source: Jordan et al., "Muon" (2024), scaled to AdamW's step size as in Liu et al., arXiv 2502.16982.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
MOMENTUM = 0.95
STEP_RMS = 0.2  # AdamW's usual root mean square update


def orthogonalise(matrices: Tensor) -> Tensor:
    """Newton-Schulz iteration in bfloat16: (N, m, n) with singular values near 1."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16()
    is_tall = x.shape[1] > x.shape[2]
    x = x.mT if is_tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x


@dataclass
class Stack:
    """All matrices of one shape, and their momentum (N, m, n)."""

    parameters: list[nn.Parameter]
    momentum: Tensor


class Muon:
    """Muon over `matrices`, AdamW over `others`; call as a torch optimizer."""

    def __init__(self, matrices: list[nn.Parameter], others: list[nn.Parameter], weight_decay: float = 0.01) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for parameter in matrices:
            by_shape.setdefault(parameter.shape, []).append(parameter)
        self.stacks = [Stack(ps, torch.zeros(len(ps), *shape, device=ps[0].device)) for shape, ps in by_shape.items()]
        self.adam = torch.optim.AdamW(others, lr=1e-4, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True)
        self.weight_decay = weight_decay

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Apply the gradients at `learning_rate`."""
        for group in self.adam.param_groups:
            group["lr"] = learning_rate
        self.adam.step()
        for stack in self.stacks:
            gradients = torch.stack([p.grad for p in stack.parameters])
            stack.momentum.lerp_(gradients, 1 - MOMENTUM)
            update = orthogonalise(gradients.lerp(stack.momentum, MOMENTUM)).float()
            scale = STEP_RMS * max(update.shape[1:]) ** 0.5
            torch._foreach_mul_(stack.parameters, 1 - learning_rate * self.weight_decay)
            torch._foreach_add_(stack.parameters, list(update.unbind()), alpha=-learning_rate * scale)

    def state_dict(self) -> dict:
        """Tensors and numbers for a checkpoint."""
        return {"adam": self.adam.state_dict(), "momentum": [stack.momentum for stack in self.stacks]}

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self.adam.load_state_dict(state["adam"])
        for stack, momentum in zip(self.stacks, state["momentum"], strict=True):
            stack.momentum.copy_(momentum)
