"""What one denoising step of a batch computes on one rank, for one shape on one group of devices. Knows no model.

With classifier-free guidance a step is two passes, with the prompt and with the negative one: two rows of a batch on
one device. On more, each half of the block takes one of the passes, which costs one exchange of the result instead of
two exchanges in every block, and the sequence is split within the halves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from tetriserve.models.ulysses import SequenceGroup, TokenSplit, swap

Hidden = Any
"""Hidden states: what a network has of a step that is not through all blocks, in a form of its own."""


class Network(Protocol):
    """A network bound to a layout, block by block."""

    @property
    def num_blocks(self) -> int:
        """How many."""
        ...

    def enter(self, latents: Tensor, text: Tensor, table: Tensor) -> Hidden:
        """Image tokens (l, R, C), text tokens (t, R, D), modulations (R, K, D) -> what the first block takes."""
        ...

    def through(self, hidden: Hidden, blocks: range, mask: Tensor | None) -> Hidden:
        """Some blocks in their order; mask (R, 1, 1, L)."""
        ...

    def leave(self, hidden: Hidden) -> Tensor:
        """What the last block gave -> velocities (l, R, C)."""
        ...


Guide = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Velocities (l, B, C) of the pass with the prompt and of the negative one, scales (B, 1) -> the one to follow."""


def linear_guidance(positive: Tensor, negative: Tensor, scales: Tensor) -> Tensor:
    """Classifier-free guidance."""
    return negative + scales * (positive - negative)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a program is made for. `passes` a step: 2 with classifier-free guidance, else 1."""

    num_text: int
    num_image: int
    batch: int
    passes: int


class Prepared(NamedTuple):
    """What a request's steps need and its prompt alone decides: text tokens (t, P, D), modulations (S, P, K, D).

    `valid` (t, P) says which text tokens there are, if not all.
    """

    text: Tensor
    tables: Tensor
    valid: Tensor | None = None

    def repeated(self, passes: int) -> "Prepared":
        """The same for each of so many passes."""
        valid = None if self.valid is None else self.valid.expand(-1, passes)
        return Prepared(self.text.expand(-1, passes, -1), self.tables.expand(-1, passes, -1, -1), valid)

    @property
    def num_bytes(self) -> int:
        """What is kept for it, however often parts of it are shown."""
        return self.text.untyped_storage().nbytes() + self.tables.untyped_storage().nbytes()


class StepInputs(NamedTuple):
    """Inputs of one step: latents (l, B, C), text (t, R, D), table (R, K, D), guidance scales and sigma steps (B,).

    `mask` (R, 1, 1, L) is true for tokens that are attended to, in the order in which attention has them.
    """

    latents: Tensor
    text: Tensor
    table: Tensor
    scales: Tensor
    sigma_steps: Tensor
    mask: Tensor | None = None

    def copied(self) -> "StepInputs":
        """The same values in memory of their own."""
        given = self._asdict().items()
        return self._replace(**{name: tensor.clone() for name, tensor in given if tensor is not None})


@dataclass(frozen=True, slots=True)
class Layout:
    """How a shape is spread over a group: which of the passes this rank takes, and which tokens."""

    shape: Shape
    group: SequenceGroup
    text: TokenSplit
    image: TokenSplit

    @classmethod
    def of(cls, shape: Shape, group: SequenceGroup) -> "Layout":
        """Passes are divided before sequences are."""
        sequence_group = group
        if shape.passes == 2 and group.degree > 1:
            assert group.half is not None
            sequence_group = group.half
        text, image = (TokenSplit.even(count, sequence_group) for count in (shape.num_text, shape.num_image))
        return cls(shape, group, text, image)

    @property
    def joint(self) -> TokenSplit:
        """The split of text and image tokens together."""
        return self.text.joined(self.image)

    @property
    def passes(self) -> range:
        """The passes that this rank takes: 0 with the prompt, 1 with the negative one."""
        if self.image.group is self.group:
            return range(self.shape.passes)
        half = self.group.rank // (self.group.degree // 2)
        return range(half, half + 1)

    @property
    def rows(self) -> int:
        """Rows of this rank's batch."""
        return self.shape.batch * len(self.passes)


@dataclass(frozen=True, slots=True)
class StepProgram:
    """A network bound to a layout. Free of host synchronisation, so that a CUDA graph can hold a step."""

    layout: Layout
    network: Network
    guide: Guide = linear_guidance

    def text(self, prepared: Sequence[Prepared]) -> Tensor:
        """This rank's text tokens (t, R, D) of a batch."""
        passes = self.layout.passes
        parts = [self.layout.text.shard(one.text)[:, passes.start : passes.stop] for one in prepared]
        return torch.cat(parts, dim=1)

    def mask(self, prepared: Sequence[Prepared]) -> Tensor | None:
        """What the rows of a batch attend to: of every rank, its text tokens and then its image tokens."""
        passes, rows = self.layout.passes, []
        for one in prepared:
            if one.valid is None:
                return None
            rows.append(one.valid[:, passes.start : passes.stop])
        valid = torch.cat(rows, dim=1)
        texts, images = torch.split(valid, list(self.layout.text.lengths)), self.layout.image.lengths
        parts = [
            part
            for text, num_image in zip(texts, images, strict=True)
            for part in (text, valid.new_ones(num_image, valid.shape[1]))
        ]
        return torch.cat(parts).t()[:, None, None].contiguous()

    def table(self, prepared: Sequence[Prepared], steps: Sequence[int]) -> Tensor:
        """The modulations (R, K, D) of the step that each request takes."""
        passes = self.layout.passes
        parts = [one.tables[step, passes.start : passes.stop] for one, step in zip(prepared, steps, strict=True)]
        return torch.cat(parts)

    def step(self, inputs: StepInputs) -> Tensor:
        """The latents (l, B, C) of every request after one step."""
        return self.leave(self.through(self.enter(inputs), inputs, 0, 1), inputs)

    def enter(self, inputs: StepInputs) -> Hidden:
        """Begin a step."""
        rows = inputs.latents.repeat_interleave(len(self.layout.passes), dim=1)
        return self.network.enter(rows, inputs.text, inputs.table)

    def through(self, hidden: Hidden, inputs: StepInputs, begin: float, end: float) -> Hidden:
        """Go on with a step from one share of the blocks to another."""
        num_blocks = self.network.num_blocks
        return self.network.through(hidden, range(round(begin * num_blocks), round(end * num_blocks)), inputs.mask)

    def leave(self, hidden: Hidden, inputs: StepInputs) -> Tensor:
        """End a step by Euler's method, in fp32: (l, B, C). Source: FlowMatchEulerDiscreteScheduler.step."""
        latents, velocity = inputs.latents, self._guided(self.network.leave(hidden), inputs.scales)
        stepped = latents.float() + inputs.sigma_steps[:, None] * velocity
        return stepped.to(latents.dtype)

    def _guided(self, velocity: Tensor, scales: Tensor) -> Tensor:
        """(l, R, C) -> (l, B, C)."""
        if self.layout.shape.passes == 1:
            return velocity
        if len(self.layout.passes) == 2:
            positive, negative = torch.unflatten(velocity, 1, (-1, 2)).unbind(2)
        else:
            other = swap(velocity, self.layout.group)
            positive, negative = (velocity, other) if self.layout.passes.start == 0 else (other, velocity)
        return self.guide(positive, negative, scales[:, None].to(velocity.dtype))
