"""Writes a tiny checkpoint of Qwen-Image with random weights, in the diffusers layout."""

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from parity.checkpoint import make_tokenizer, save

TEXT_LENGTH = 37
"""More than a prompt of the tests has, and odd. The pipeline cuts off the 34 tokens before it."""


def write_qwen_checkpoint(directory: Path) -> Path:
    """Two blocks, three heads (no power of two)."""
    torch.manual_seed(0)
    pipeline = QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=1.0, use_dynamic_shifting=True, max_image_seq_len=8192, max_shift=0.9, shift_terminal=0.02
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 2, 2, 2],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[0.9, 1.2, 0.8, 1.1],
        ),
        text_encoder=_text_encoder(),
        tokenizer=make_tokenizer(2048),
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=3,
            joint_attention_dim=32,
            axes_dims_rope=(4, 6, 6),
        ),
    )
    return save(pipeline, directory, name="tiny-qwen-image", max_sequence_length=TEXT_LENGTH)


def _text_encoder() -> Qwen2_5_VLForConditionalGeneration:
    text = {
        "vocab_size": 32,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))
