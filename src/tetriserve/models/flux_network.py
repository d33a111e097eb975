"""The FLUX transformer on this package's own blocks: diffusers' weights, packed, and the same arithmetic.

Source: diffusers FluxTransformer2DModel; differs: q, k and v are one product; residual, norm and modulation are one
pass; modulations, which don't depend on the image, are computed for all steps of a request at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tetriserve.models.attention import JointAttention
from tetriserve.models.fused import Modulation, QKNorms, Rotary, Streams
from tetriserve.models.linear import Linear
from tetriserve.models.transformer_blocks import JointBlock, Residual, SingleBlock, StreamWeights

DOUBLE_MODULATIONS = 12  # of text and then of image: shift, scale, gate of attention; shift, scale, gate of the MLP
SINGLE_MODULATIONS = 3


@dataclass(frozen=True, slots=True)
class FluxNetwork:
    """Weights of a FLUX transformer. Made once on each device; the diffusers module keeps what is not here."""

    blocks: tuple[JointBlock | SingleBlock, ...]
    first: Modulation
    modulations: tuple[Linear, ...]
    image_in: Linear
    text_in: Linear
    image_out: Linear
    time_embedding: nn.Module
    positions: nn.Module
    num_heads: int

    @classmethod
    def pack(cls, transformer: Any) -> "FluxNetwork":
        """Take a FluxTransformer2DModel's weights over, block by block, so that no second copy of them is held."""
        doubles, singles = len(transformer.transformer_blocks), len(transformer.single_transformer_blocks)
        sites = _sites(doubles, singles)
        modulations: list[Linear] = []
        blocks: list[JointBlock | SingleBlock] = []
        first = next(sites)
        for block in _taken(transformer.transformer_blocks):
            modulations += [Linear.of(block.norm1_context.linear), Linear.of(block.norm1.linear)]
            blocks.append(_pack_double(block, next(sites), next(sites)))
        for block in _taken(transformer.single_transformer_blocks):
            modulations.append(Linear.of(block.norm.linear))
            blocks.append(_pack_single(block, next(sites)))
        modulations.append(Linear.of(transformer.norm_out.linear))
        return cls(
            tuple(blocks),
            first,
            tuple(modulations),
            Linear.of(transformer.x_embedder),
            Linear.of(transformer.context_embedder),
            Linear.of(transformer.proj_out),
            transformer.time_text_embed,
            transformer.pos_embed,
            transformer.config.num_attention_heads,
        )

    def modulation_table(self, timesteps: Tensor, guidance: Tensor | None, pooled: Tensor) -> Tensor:
        """All modulations of S passes: timesteps (S,), in thousandths, guidance (S,), pooled (S, C) -> (S, K, D)."""
        inputs = (timesteps, pooled) if guidance is None else (timesteps, guidance, pooled)
        active = F.silu(self.time_embedding(*inputs))
        table = torch.cat([linear(active) for linear in self.modulations], dim=-1)
        return torch.unflatten(table, -1, (-1, active.shape[-1]))

    def rotary(self, text_ids: Tensor, image_ids: Tensor) -> Rotary:
        """Angles of tokens at `text_ids` (t, 3) and then `image_ids` (l, 3)."""
        cos, sin = self.positions(torch.cat((text_ids, image_ids)))
        return Rotary(cos[:, ::2].float().contiguous(), sin[:, ::2].float().contiguous())

    def velocity(self, latents: Tensor, text: Tensor, table: Tensor, attention: JointAttention) -> Tensor:
        """Image tokens (l, B, C), embedded text (t, B, D), modulations (B, K, D) -> velocities (l, B, C)."""
        num_text = text.shape[0]
        x = torch.cat((text, self.image_in(latents)))
        residual = Residual(x, table, num_text)
        y = residual.add(None, self.first)
        for block in self.blocks:
            y = block(residual, y, attention)
        return self.image_out(y[num_text:])


def _taken(blocks: nn.ModuleList) -> Iterator[Any]:
    """The blocks in their order; each is dropped from the list when the next one is asked for."""
    for index in range(len(blocks)):
        block, blocks[index] = blocks[index], nn.Identity()
        yield block


def _sites(doubles: int, singles: int) -> Iterator[Modulation]:
    """Where every norm finds its modulation in the table, and the gate of the branch that is added before it.

    Shift and scale of a norm belong to what follows it, the gate to what precedes it.
    """
    norms: list[tuple[Streams, Streams]] = []
    gates: list[Streams | None] = [None]
    for index in range(doubles):
        text, image = index * DOUBLE_MODULATIONS, index * DOUBLE_MODULATIONS + 6
        for offset in (0, 3):
            norms.append((Streams(text + offset, image + offset), Streams(text + offset + 1, image + offset + 1)))
            gates.append(Streams(text + offset + 2, image + offset + 2))
    base = doubles * DOUBLE_MODULATIONS
    for index in range(singles):
        shift = base + index * SINGLE_MODULATIONS
        norms.append((Streams(shift, shift), Streams(shift + 1, shift + 1)))
        gates.append(Streams(shift + 2, shift + 2))
    last = base + singles * SINGLE_MODULATIONS  # AdaLayerNormContinuous: scale, then shift
    norms.append((Streams(last + 1, last + 1), Streams(last, last)))
    return (Modulation(shift, scale, gate) for (shift, scale), gate in zip(norms, gates, strict=True))


def _pack_double(block: Any, after_attention: Modulation, after_mlp: Modulation) -> JointBlock:
    attn = block.attn
    text = StreamWeights(
        Linear.of(attn.add_q_proj, attn.add_k_proj, attn.add_v_proj),
        Linear.of(attn.to_add_out),
        Linear.of(block.ff_context.net[0].proj),
        Linear.of(block.ff_context.net[2]),
    )
    image = StreamWeights(
        Linear.of(attn.to_q, attn.to_k, attn.to_v),
        Linear.of(attn.to_out[0]),
        Linear.of(block.ff.net[0].proj),
        Linear.of(block.ff.net[2]),
    )
    norms = QKNorms(
        attn.norm_added_q.weight, attn.norm_q.weight, attn.norm_added_k.weight, attn.norm_k.weight, attn.norm_q.eps
    )
    return JointBlock(text, image, norms, after_attention, after_mlp)


def _pack_single(block: Any, after: Modulation) -> SingleBlock:
    attn = block.attn
    out_attention, out_mlp = Linear.of(block.proj_out).split_inputs(block.proj_out.out_features)
    q, k = attn.norm_q.weight, attn.norm_k.weight
    return SingleBlock(
        Linear.of(attn.to_q, attn.to_k, attn.to_v),
        Linear.of(block.proj_mlp),
        out_attention,
        out_mlp,
        QKNorms(q, q, k, k, attn.norm_q.eps),
        after,
    )
