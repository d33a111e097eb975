"""What both training stages share: clock of a resumable run, averaged weights, guard against NaN."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite; the last checkpoint precedes it."""


@dataclass
class Clock:
    """Time spent training, summed over the pieces of a run. The schedule follows it, not the step count."""

    total_s: float  # the whole schedule
    piece_s: float  # this process
    spent_before_s: float = 0.0

    def __post_init__(self) -> None:
        self.started_s = time.monotonic()

    @property
    def piece_spent_s(self) -> float:
        """Seconds this process has trained."""
        return time.monotonic() - self.started_s

    @property
    def spent_s(self) -> float:
        """Seconds trained in all pieces."""
        return self.spent_before_s + self.piece_spent_s

    @property
    def progress(self) -> float:
        """How much of the schedule is spent, 0..1."""
        return min(1.0, self.spent_s / self.total_s)

    @property
    def is_over(self) -> bool:
        """Whether this piece, or the schedule, has ended."""
        return self.piece_spent_s >= self.piece_s or self.spent_s >= self.total_s


def learning_rate(peak: float, step: int, progress: float, warmup_steps: int, constant_until: float) -> float:
    """Linear warm-up, then constant until `constant_until` of the schedule, then a cosine down to 2 %."""
    warm = min(1.0, (step + 1) / warmup_steps)
    decay = max(0.0, (progress - constant_until) / (1 - constant_until))
    return peak * warm * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * decay)))


class Average:
    """Exponential moving average of parameters, young at first so that it forgets the initialisation."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.values = [p.detach().clone() for p in parameters]

    def update(self, step: int) -> None:
        """Move the average towards the parameters."""
        decay = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - decay)

    def swap(self) -> None:
        """Exchange the average and the parameters; call again to undo."""
        for parameter, value in zip(self.parameters, self.values, strict=True):
            held = parameter.detach().clone()
            parameter.data.copy_(value)
            value.copy_(held)


class LossGuard:
    """Looks at the loss on the device; asks for the answer only now and then."""

    def __init__(self, device: str) -> None:
        self.is_bad = torch.zeros((), dtype=torch.bool, device=device)

    def watch(self, loss: torch.Tensor) -> None:
        """Note whether the loss is finite, without waiting for it."""
        self.is_bad |= ~torch.isfinite(loss.detach())

    def check(self, step: int) -> None:
        """Raise NonFiniteLossError if any loss watched so far was not finite."""
        if self.is_bad.item():
            raise NonFiniteLossError(f"non-finite loss at or shortly before step {step}")


def save(state: dict, path: Path) -> None:
    """Write tensors and numbers; the file under `path` is always complete."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load(path: Path, device: str) -> dict | None:
    """Read what `save` wrote, or None if there is nothing."""
    return torch.load(path, map_location=device, weights_only=True) if path.exists() else None
