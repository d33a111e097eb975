"""The forward pass of a FLUX transformer with few passes over memory, for training without a compiler.

Computes what `FluxTransformer2DModel.forward` computes (`test_lean_flux.py` compares them), on that model's
own modules. A narrow transformer is bound by memory traffic, and most of it is rotary embedding in float32,
concatenation and small normalisations.
Letters: B batch, T text tokens, L image tokens, S = T + L, H heads, E head width, D = H·E.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn


@dataclass(frozen=True)
class Rotary:
    """Cosines and sines (S, E), in FluxPosEmbed's interleaved pairs; the sines of even places are negated."""

    cos: Tensor
    sin: Tensor


def rotary(transformer: FluxTransformer2DModel, image_ids: Tensor, text_tokens: int, dtype: torch.dtype) -> Rotary:
    """Rotary tables for text at the origin followed by image tokens at `image_ids` (L, 3)."""
    ids = torch.cat([torch.zeros(text_tokens, 3, device=image_ids.device), image_ids])
    cos, sin = transformer.pos_embed(ids)
    sign = torch.tensor([-1.0, 1.0], device=sin.device).repeat(sin.shape[1] // 2)
    return Rotary(cos.to(dtype), (sin * sign).to(dtype))


def swap_pairs(x: Tensor) -> Tensor:
    """Exchange the two members of each pair of the last axis."""
    return x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


def normalise_and_rotate(x: Tensor, norm: nn.RMSNorm, table: Rotary) -> Tensor:
    """RMS-normalise (B, S, H, E) over E and rotate; the norm's weight is folded into the tables."""
    on_self = (table.cos * norm.weight)[:, None]
    on_pair = (table.sin * swap_pairs(norm.weight))[:, None]
    inverse = torch.rsqrt(torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1] + norm.eps)
    unit = x * inverse
    return torch.addcmul(unit * on_self, swap_pairs(unit), on_pair)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (B, S, H, E); returns (B, S, D)."""
    out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return out.transpose(1, 2).flatten(2)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm (B, S, D) without weights, then per-image scale and shift (B, D)."""
    return torch.addcmul(shift[:, None], F.layer_norm(x, x.shape[-1:], eps=1e-6), (1 + scale)[:, None])


def heads(x: Tensor, linear: nn.Linear, width: int) -> Tensor:
    """Project (B, S, D) and split into heads of `width`: (B, S, H, E)."""
    return linear(x).unflatten(-1, (-1, width))


def double_block(block: nn.Module, text: Tensor, image: Tensor, emb: Tensor, table: Rotary) -> tuple[Tensor, Tensor]:
    """Text (B, T, D) and image (B, L, D), own weights, one attention; `emb` (B, D) is silu'd time."""
    attn, num_text = block.attn, text.shape[1]
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = block.norm1.linear(emb).chunk(6, dim=1)
    t_shift, t_scale, t_gate, t_shift_mlp, t_scale_mlp, t_gate_mlp = block.norm1_context.linear(emb).chunk(6, dim=1)
    i, t, width = modulate(image, shift, scale), modulate(text, t_shift, t_scale), attn.head_dim
    text_table = Rotary(table.cos[:num_text], table.sin[:num_text])
    image_table = Rotary(table.cos[num_text:], table.sin[num_text:])
    q = torch.cat(
        [
            normalise_and_rotate(heads(t, attn.add_q_proj, width), attn.norm_added_q, text_table),
            normalise_and_rotate(heads(i, attn.to_q, width), attn.norm_q, image_table),
        ],
        dim=1,
    )
    k = torch.cat(
        [
            normalise_and_rotate(heads(t, attn.add_k_proj, width), attn.norm_added_k, text_table),
            normalise_and_rotate(heads(i, attn.to_k, width), attn.norm_k, image_table),
        ],
        dim=1,
    )
    v = torch.cat([heads(t, attn.add_v_proj, width), heads(i, attn.to_v, width)], dim=1)
    out = attend(q, k, v)
    image = torch.addcmul(image, gate[:, None], attn.to_out[0](out[:, num_text:]))
    text = torch.addcmul(text, t_gate[:, None], attn.to_add_out(out[:, :num_text]))
    image = torch.addcmul(image, gate_mlp[:, None], block.ff(modulate(image, shift_mlp, scale_mlp)))
    text = torch.addcmul(text, t_gate_mlp[:, None], block.ff_context(modulate(text, t_shift_mlp, t_scale_mlp)))
    return text, image


def single_block(block: nn.Module, x: Tensor, emb: Tensor, table: Rotary) -> Tensor:
    """Text and image as one sequence (B, S, D); attention and MLP side by side, projections added."""
    attn, width = block.attn, x.shape[-1]
    shift, scale, gate = block.norm.linear(emb).chunk(3, dim=1)
    y = modulate(x, shift, scale)
    q = normalise_and_rotate(heads(y, attn.to_q, attn.head_dim), attn.norm_q, table)
    k = normalise_and_rotate(heads(y, attn.to_k, attn.head_dim), attn.norm_k, table)
    out = attend(q, k, heads(y, attn.to_v, attn.head_dim))
    hidden = F.gelu(block.proj_mlp(y), approximate="tanh")
    weight = block.proj_out.weight
    projected = F.linear(out, weight[:, :width], block.proj_out.bias) + F.linear(hidden, weight[:, width:])
    return torch.addcmul(x, gate[:, None], projected)


@dataclass(frozen=True)
class Condition:
    """What the text encoders say: hidden states (B, T, C) and pooled (B, P)."""

    hidden: Tensor
    pooled: Tensor


def forward(
    transformer: FluxTransformer2DModel,
    blocks: nn.ModuleDict,
    noisy: Tensor,
    times: Tensor,
    condition: Condition,
    table: Rotary,
) -> Tensor:
    """Velocity (B, L, C) for `noisy` (B, L, C) at `times` (B,).

    `blocks` ("double_blocks", "single_blocks") may be a copy of the model's in bfloat16; embedders and output
    run in the precision of `transformer`. `table` must have the blocks' precision.
    """
    dtype = blocks["single_blocks"][0].proj_mlp.weight.dtype
    emb = transformer.time_text_embed(times * 1000, condition.pooled)
    active = F.silu(emb).to(dtype)
    image, text = (
        transformer.x_embedder(noisy).to(dtype),
        transformer.context_embedder(condition.hidden).to(dtype),
    )
    for block in blocks["double_blocks"]:
        text, image = double_block(block, text, image, active, table)
    num_text = text.shape[1]
    x = torch.cat([text, image], dim=1)
    for block in blocks["single_blocks"]:
        x = single_block(block, x, active, table)
    return transformer.proj_out(transformer.norm_out(x[:, num_text:].float(), emb))
