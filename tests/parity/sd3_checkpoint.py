"""Writes tiny checkpoints of Stable Diffusion 3 and 3.5 with random weights, in the diffusers layout."""

from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from transformers import CLIPTextModelWithProjection

from parity.checkpoint import CLIP_LENGTH, clip_config, make_t5, make_tokenizer, make_vae, save

T5_LENGTH = 9
KINDS: dict[str, dict[str, Any]] = {
    "sd3": {},
    "sd3.5-medium": {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)},
    "sd3.5-large": {"qk_norm": "rms_norm"},
}
"""What the networks of a kind differ in. Stable Diffusion 3 is written without T5, 3.5 medium with dynamic shifting."""


def write_sd3_checkpoint(directory: Path, kind: str) -> Path:
    """Three blocks, three heads (no power of two), and an odd text length; positions for 13 x 13 tokens."""
    torch.manual_seed(0)
    has_t5 = kind != "sd3"
    pipeline = StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=kind == "sd3.5-medium"),
        vae=make_vae(),
        text_encoder=CLIPTextModelWithProjection(clip_config(2)),
        tokenizer=make_tokenizer(CLIP_LENGTH),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(3)),
        tokenizer_2=make_tokenizer(CLIP_LENGTH),
        text_encoder_3=make_t5() if has_t5 else None,
        tokenizer_3=make_tokenizer(T5_LENGTH) if has_t5 else None,
        transformer=SD3Transformer2DModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            num_layers=3,
            attention_head_dim=16,
            num_attention_heads=3,
            joint_attention_dim=32,
            caption_projection_dim=48,
            pooled_projection_dim=32,
            pos_embed_max_size=13,
            **KINDS[kind],
        ),
    )
    return save(pipeline, directory, name=f"tiny-{kind}", max_sequence_length=T5_LENGTH)
