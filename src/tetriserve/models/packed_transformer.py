"""A multimodal diffusion transformer on this package's own blocks, and how diffusers' modules are packed into it.

q, k and v are one product; residual, norm and modulation are one pass; modulations, which don't depend on the image,
are computed for all steps of a request at once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tetriserve.models.attention import JointAttention
from tetriserve.models.fused import Modulation, QKNorms, Streams
from tetriserve.models.linear import Linear, Mlp
from tetriserve.models.transformer_blocks import Block, Residual, StreamWeights
from tetriserve.models.weights import replace_tensors

Norm = tuple[Streams, Streams]
"""Where shift and scale of a norm stand in the table of modulations."""


@dataclass(frozen=True, slots=True)
class PackedTransformer:
    """Weights of a transformer. Made once on each device; the diffusers module keeps what is not here.

    `first` modulates the norm before the first block; the outputs of `modulations` are the table's rows, in order.
    """

    blocks: tuple[Block, ...]
    first: Modulation
    modulations: tuple[Linear, ...]
    image_in: Linear
    text_in: Linear
    image_out: Linear

    def modulation_table(self, embedding: Tensor) -> Tensor:
        """All modulations of S passes from the embedding (S, D) of their timestep and prompt: (S, K, D)."""
        active = F.silu(embedding)
        table = torch.cat([linear(active) for linear in self.modulations], dim=-1)
        return torch.unflatten(table, -1, (-1, active.shape[-1]))


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """Tokens on their way through the blocks: the residual stream, and what the next block takes of it (n, B, D)."""

    residual: Residual
    y: Tensor


@dataclass(frozen=True, slots=True)
class BoundTransformer:
    """A transformer bound to a layout: implements `program.Network`.

    `positions` (l, 1, D) are added to the embedded image tokens.
    """

    transformer: PackedTransformer
    attention: JointAttention
    positions: Tensor | None = None

    @property
    def num_blocks(self) -> int:
        """Between any two of them a step can be interrupted."""
        return len(self.transformer.blocks)

    def enter(self, latents: Tensor, text: Tensor, table: Tensor) -> HiddenStates:
        """Image tokens (l, B, C), embedded text (t, B, D), modulations (B, K, D) -> what the first block takes."""
        image = self.transformer.image_in(latents)
        if self.positions is not None:
            image += self.positions
        residual = Residual(torch.cat((text, image)), table, text.shape[0])
        return HiddenStates(residual, residual.add(None, self.transformer.first))

    def through(self, hidden: HiddenStates, blocks: range, mask: Tensor | None) -> HiddenStates:
        """Some blocks in their order. `mask` (B, 1, 1, L) says what is attended to, if not all."""
        attention = self.attention if mask is None else replace(self.attention, mask=mask)
        y = hidden.y
        for index in blocks:
            y = self.transformer.blocks[index](hidden.residual, y, attention)
        return HiddenStates(hidden.residual, y)

    def leave(self, hidden: HiddenStates) -> Tensor:
        """What the last block gave -> velocities (l, B, C)."""
        residual, y = hidden.residual, hidden.y
        num_image = residual.x.shape[0] - residual.num_text
        return self.transformer.image_out(y[y.shape[0] - num_image :])


@dataclass(frozen=True, slots=True)
class Packing:
    """How a diffusers module is taken over: to a device, its blocks one by one, each converted before the next comes.

    So a device never holds a second copy of the module, nor all of it in a format that it isn't used in.
    """

    device: torch.device
    convert: Callable[[Block], Block] = lambda block: block

    def taken(self, blocks: nn.ModuleList) -> Iterator[Any]:
        """The modules of blocks in their order; each is dropped from the list when the next one is asked for."""
        for index in range(len(blocks)):
            block, blocks[index] = blocks[index], nn.Identity()
            replace_tensors([block], self._moved)
            yield block

    def move_rest(self, transformer: nn.Module) -> None:
        """Move all but the lists of blocks. Comes before anything else of the module is used."""
        rest = [child for child in transformer.children() if not isinstance(child, nn.ModuleList)]
        replace_tensors(rest, self._moved)

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device)


def pack_sites(norms: Iterable[Norm], gates: Sequence[Streams]) -> Iterator[Modulation]:
    """Every norm with the gate of the branch that is added before it; before the first there is none.

    Shift and scale of a norm belong to what follows it, the gate to what precedes it.
    """
    return (Modulation(shift, scale, gate) for (shift, scale), gate in zip(norms, (None, *gates), strict=True))


def zero_norms(text: int, image: int) -> tuple[list[Norm], list[Streams]]:
    """Norms and gates of an AdaLayerNormZero pair: shift, scale, gate of attention; shift, scale, gate of the MLP.

    `text` and `image` are the table's rows where the outputs of the two begin.
    """
    norms = [(Streams(text + i, image + i), Streams(text + i + 1, image + i + 1)) for i in (0, 3)]
    return norms, [Streams(text + i, image + i) for i in (2, 5)]


def last_norm(start: int) -> Norm:
    """AdaLayerNormContinuous: scale, then shift."""
    return Streams(start + 1, start + 1), Streams(start, start)


def pack_image(attn: Any, feed_forward: Any) -> StreamWeights:
    """What image tokens have of a diffusers block."""
    return pack_stream(pack_qkv(attn), attn.to_out[0], feed_forward)


def pack_text(attn: Any, feed_forward: Any) -> StreamWeights:
    """What text tokens have of a diffusers block."""
    return pack_stream(pack_text_qkv(attn), attn.to_add_out, feed_forward)


def pack_stream(qkv: Linear, out: nn.Linear, feed_forward: Any) -> StreamWeights:
    """What one kind of tokens has of a block."""
    mlp = Mlp(Linear.of(feed_forward.net[0].proj), Linear.of(feed_forward.net[2]))
    return StreamWeights(qkv, Linear.of(out), mlp)


def pack_qkv(attn: Any) -> Linear:
    """Projections of image tokens."""
    return Linear.of(attn.to_q, attn.to_k, attn.to_v)


def pack_text_qkv(attn: Any) -> Linear:
    """Projections of text tokens."""
    return Linear.of(attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)


def pack_norms(attn: Any, *, joint: bool = True) -> QKNorms | None:
    """RMS norms of queries and keys, where there are any; those of text tokens only in a `joint` attention."""
    if attn.norm_q is None:
        return None
    q, k = attn.norm_q.weight, attn.norm_k.weight
    if not joint:
        return QKNorms(q, q, k, k, attn.norm_q.eps)
    return QKNorms(attn.norm_added_q.weight, q, attn.norm_added_k.weight, k, attn.norm_q.eps)
