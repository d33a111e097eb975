"""The transformer of Stable Diffusion 3 and 3.5 on own blocks. Source: diffusers SD3Transformer2DModel."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tetriserve.models.fused import Modulation, Streams
from tetriserve.models.linear import Linear
from tetriserve.models.packed_transformer import (
    Norm,
    PackedTransformer,
    Packing,
    last_norm,
    pack_image,
    pack_norms,
    pack_qkv,
    pack_sites,
    pack_text,
    pack_text_qkv,
    zero_norms,
)
from tetriserve.models.transformer_blocks import Block, ImageAttention, JointBlock, LastJointBlock


def pack_sd3(transformer: Any, packing: Packing) -> PackedTransformer:
    """Take an SD3Transformer2DModel's weights over, block by block."""
    packing.move_rest(transformer)
    starts, end = _starts(transformer.transformer_blocks)
    sites = _sites(starts, end)
    modulations: list[Linear] = []
    blocks: list[Block] = []
    first = next(sites)
    for block, (_, image_start) in zip(packing.taken(transformer.transformer_blocks), starts, strict=True):
        modulations += [Linear.of(block.norm1_context.linear), Linear.of(block.norm1.linear)]
        blocks.append(packing.convert(_pack_block(block, next(sites), next(sites), image_start)))
    modulations.append(Linear.of(transformer.norm_out.linear))
    return PackedTransformer(
        tuple(blocks),
        first,
        tuple(modulations),
        _patch_in(transformer.pos_embed.proj),
        Linear.of(transformer.context_embedder),
        _patch_out(transformer.proj_out, transformer.out_channels),
    )


def positions(pos_embed: Any, height: int, width: int) -> Tensor:
    """Learned positions (L, 1, D) of a latent image: the middle of the square that was trained."""
    cropped: Tensor = pos_embed.cropped_pos_embed(height, width)
    return cropped.transpose(0, 1)


def _starts(blocks: Any) -> tuple[list[tuple[int, int]], int]:
    """Where the modulations of each block's text and image tokens begin in the table; where those of the blocks end."""
    starts, end = [], 0
    for block in blocks:
        text, image = end, end + _rows(block.norm1_context.linear)
        starts.append((text, image))
        end = image + _rows(block.norm1.linear)
    return starts, end


def _rows(linear: nn.Linear) -> int:
    return linear.out_features // linear.in_features


def _sites(starts: Sequence[tuple[int, int]], end: int) -> Iterator[Modulation]:
    """Text tokens of the last block have one norm and no gate: nothing comes after them."""
    norms: list[Norm] = []
    gates: list[Streams] = []
    for text, image in starts:
        more_norms, more_gates = zero_norms(text, image)
        norms += more_norms
        gates += more_gates
    (text, image) = starts[-1]
    norms[-2] = Streams(text + 1, image), Streams(text, image + 1)
    return pack_sites([*norms, last_norm(end)], gates)


def _pack_block(block: Any, after_attention: Modulation, after_mlp: Modulation, image_start: int) -> Block:
    attn, image = block.attn, pack_image(block.attn, block.ff)
    second = None if block.attn2 is None else _pack_second(block.attn2, image_start + 6)
    if block.context_pre_only:
        return LastJointBlock(pack_text_qkv(attn), image, pack_norms(attn), after_attention, after_mlp, second)
    text = pack_text(attn, block.ff_context)
    return JointBlock(text, image, pack_norms(attn), after_attention, after_mlp, second)


def _pack_second(attn: Any, start: int) -> ImageAttention:
    """The second attention of SD3.5 medium; its shift, scale and gate begin at `start`."""
    before = Modulation(Streams(start, start), Streams(start + 1, start + 1))
    return ImageAttention(pack_qkv(attn), Linear.of(attn.to_out[0]), pack_norms(attn, joint=False), before, start + 2)


def _patch_in(convolution: nn.Conv2d) -> Linear:
    """A convolution over patches is a product with what a token holds."""
    assert convolution.bias is not None
    return Linear(convolution.weight.flatten(1), convolution.bias)


def _patch_out(linear: nn.Linear, channels: int) -> Linear:
    """Outputs ordered (row, column, channel) -> (channel, row, column), as tokens hold them."""
    return Linear(_channels_first(linear.weight, channels), _channels_first(linear.bias, channels))


def _channels_first(x: Tensor, channels: int) -> Tensor:
    return torch.unflatten(x.detach(), 0, (-1, channels)).transpose(0, 1).flatten(0, 1).contiguous()
