"""The FLUX transformer on this package's own blocks: diffusers' weights, packed, and the same arithmetic.

Source: diffusers FluxTransformer2DModel.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tetriserve.models.fused import Modulation, Rotary, Streams
from tetriserve.models.linear import Linear, Mlp
from tetriserve.models.packed_transformer import (
    PackedTransformer,
    Packing,
    last_norm,
    pack_image,
    pack_norms,
    pack_qkv,
    pack_sites,
    pack_text,
    zero_norms,
)
from tetriserve.models.transformer_blocks import Block, JointBlock, SingleBlock

DOUBLE_MODULATIONS = 12
SINGLE_MODULATIONS = 3  # shift, scale, gate


def pack_flux(transformer: Any, packing: Packing) -> PackedTransformer:
    """Take a FluxTransformer2DModel's weights over, block by block."""
    packing.move_rest(transformer)
    doubles, singles = transformer.transformer_blocks, transformer.single_transformer_blocks
    sites = _sites(len(doubles), len(singles))
    modulations: list[Linear] = []
    blocks: list[Block] = []
    first = next(sites)
    for block in packing.taken(doubles):
        modulations += [Linear.of(block.norm1_context.linear), Linear.of(block.norm1.linear)]
        text, image = pack_text(block.attn, block.ff_context), pack_image(block.attn, block.ff)
        packed = JointBlock(text, image, pack_norms(block.attn), next(sites), next(sites))
        blocks.append(packing.convert(packed))
    for block in packing.taken(singles):
        modulations.append(Linear.of(block.norm.linear))
        blocks.append(packing.convert(_pack_single(block, next(sites))))
    modulations.append(Linear.of(transformer.norm_out.linear))
    return PackedTransformer(
        tuple(blocks),
        first,
        tuple(modulations),
        Linear.of(transformer.x_embedder),
        Linear.of(transformer.context_embedder),
        Linear.of(transformer.proj_out),
    )


def rotary(pos_embed: Any, text_ids: Tensor, image_ids: Tensor) -> Rotary:
    """Angles of tokens at `text_ids` (t, 3) and then `image_ids` (l, 3)."""
    cos, sin = pos_embed(torch.cat((text_ids, image_ids)))
    return Rotary(cos[:, ::2].float().contiguous(), sin[:, ::2].float().contiguous())


def _sites(doubles: int, singles: int) -> Iterator[Modulation]:
    """Where every norm finds its modulation in the table, and the gate of the branch that is added before it."""
    norms, gates = [], []
    for index in range(doubles):
        text = index * DOUBLE_MODULATIONS
        more_norms, more_gates = zero_norms(text, text + 6)
        norms += more_norms
        gates += more_gates
    for index in range(singles):
        shift = doubles * DOUBLE_MODULATIONS + index * SINGLE_MODULATIONS
        norms.append((Streams(shift, shift), Streams(shift + 1, shift + 1)))
        gates.append(Streams(shift + 2, shift + 2))
    norms.append(last_norm(doubles * DOUBLE_MODULATIONS + singles * SINGLE_MODULATIONS))
    return pack_sites(norms, gates)


def _pack_single(block: Any, after: Modulation) -> SingleBlock:
    out_attention, out_mlp = Linear.of(block.proj_out).split_inputs(block.proj_out.out_features)
    norms = pack_norms(block.attn, joint=False)
    mlp = Mlp(Linear.of(block.proj_mlp), out_mlp)
    return SingleBlock(pack_qkv(block.attn), out_attention, mlp, norms, after)
