"""The transformer of Qwen-Image on own blocks. Source: diffusers QwenImageTransformer2DModel."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.fused import Modulation, Rotary, Streams
from tetriserve.models.linear import Linear
from tetriserve.models.packed_transformer import (
    Norm,
    PackedTransformer,
    Packing,
    last_norm,
    pack_norms,
    pack_qkv,
    pack_sites,
    pack_stream,
    pack_text_qkv,
    zero_norms,
)
from tetriserve.models.transformer_blocks import Block, JointBlock

MODULATIONS = 12
"""Of a block: six of text tokens, then six of image tokens."""
THETA = 10000
VARIANTS = ("guidance_embeds", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope")
"""What only networks that edit images, or were distilled, have."""


def pack_qwen(transformer: Any, packing: Packing) -> PackedTransformer:
    """Take a QwenImageTransformer2DModel's weights over, block by block. Raises ConfigurationError for other kinds."""
    for variant in VARIANTS:
        if transformer.config.get(variant):
            raise ConfigurationError(f"a Qwen-Image network with {variant} is not supported")
    packing.move_rest(transformer)
    sites = _sites(len(transformer.transformer_blocks))
    modulations: list[Linear] = []
    blocks: list[Block] = []
    first = next(sites)
    for block in packing.taken(transformer.transformer_blocks):
        modulations += [Linear.of(block.txt_mod[1]), Linear.of(block.img_mod[1])]
        text = pack_stream(pack_text_qkv(block.attn), block.attn.to_add_out, block.txt_mlp)
        image = pack_stream(pack_qkv(block.attn), block.attn.to_out[0], block.img_mlp)
        blocks.append(packing.convert(JointBlock(text, image, pack_norms(block.attn), next(sites), next(sites))))
    modulations.append(Linear.of(transformer.norm_out.linear))
    return PackedTransformer(
        tuple(blocks),
        first,
        tuple(modulations),
        Linear.of(transformer.img_in),
        Linear.of(transformer.txt_in),
        Linear.of(transformer.proj_out),
    )


def positions(num_text: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Places (t, 3) of text tokens and (L, 3) of an image's. Source: QwenEmbedRope.

    The image lies around the origin; text follows on the diagonal behind it.
    """
    ys, xs = torch.arange(height) - (height - height // 2), torch.arange(width) - (width - width // 2)
    image = torch.stack((torch.zeros(height, width), ys[:, None].expand(-1, width), xs.expand(height, -1)), dim=-1)
    text = (torch.arange(num_text) + max(height // 2, width // 2))[:, None].expand(-1, 3)
    return text.float(), image.flatten(0, 1)


def rotary(axes: Sequence[int], places: Tensor, device: torch.device) -> Rotary:
    """Angles of tokens at `places` (n, 3), with `axes` components for each of the three.

    Computed here: diffusers keeps a table of them, which a module that was made without storage hasn't got.
    """
    angles = torch.cat([torch.outer(places[:, i], _frequencies(size)) for i, size in enumerate(axes)], dim=1)
    return Rotary(angles.cos().to(device), angles.sin().to(device))


def _frequencies(size: int) -> Tensor:
    return 1.0 / torch.pow(THETA, torch.arange(0, size, 2).float().div(size))


def _sites(num_blocks: int) -> Iterator[Modulation]:
    norms: list[Norm] = []
    gates: list[Streams] = []
    for index in range(num_blocks):
        text = index * MODULATIONS
        more_norms, more_gates = zero_norms(text, text + 6)
        norms += more_norms
        gates += more_gates
    norms.append(last_norm(num_blocks * MODULATIONS))
    return pack_sites(norms, gates)
