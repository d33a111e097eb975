"""Writes a tiny FLUX checkpoint with random weights and word-level tokenizers, in the diffusers layout."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

WORDS = ("a", "red", "blue", "green", "cat", "dog", "house", "tree", "on", "in", "the", "sea", "snow", "ugly")
CLIP_LENGTH = 12


def write_checkpoint(directory: Path, *, guidance: str, heads: int = 3, max_sequence_length: int = 15) -> Path:
    """A model of two kinds of blocks, three heads (no power of two), and an odd text length."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(CLIP_LENGTH)
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=make_vae(),
        text_encoder=CLIPTextModel(clip_config()),
        tokenizer=tokenizer,
        text_encoder_2=make_t5(),
        tokenizer_2=make_tokenizer(max_sequence_length),
        transformer=_transformer(heads, guidance_embeds=guidance == "embedded"),
    )
    return save(
        pipeline,
        directory,
        name=f"tiny-{guidance}",
        max_sequence_length=max_sequence_length,
        guidance=guidance,
        default_guidance_scale=3.5,
        default_num_inference_steps=4,
    )


def save(pipeline: DiffusionPipeline, directory: Path, **card: object) -> Path:
    """Give all modules weights that matter, and write them and the card."""
    for module in pipeline.components.values():
        if isinstance(module, torch.nn.Module):
            make_lively(module)
    pipeline.save_pretrained(directory)
    (directory / "tetriserve.json").write_text(json.dumps(card))
    return directory


def clip_config(num_hidden_layers: int = 1) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=num_hidden_layers,
        num_attention_heads=2,
        max_position_embeddings=CLIP_LENGTH,
        projection_dim=16,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=1,
    )


def make_t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=32, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2, dropout_rate=0.0)
    )


def _transformer(heads: int, *, guidance_embeds: bool) -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=heads,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance_embeds,
        axes_dims_rope=(4, 6, 6),
    )


def make_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.36,
        shift_factor=0.11,
        use_quant_conv=False,
        use_post_quant_conv=False,
        mid_block_add_attention=False,
    )


def make_tokenizer(model_max_length: int) -> PreTrainedTokenizerFast:
    """A word a token."""
    vocab = {word: i for i, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=model_max_length,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )


def make_lively(module: torch.nn.Module) -> None:
    """Weights large enough that every input matters in the image, and a mistake shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(std=1.4 * fan_in**-0.5)
            elif parameter.abs().max() == 0:
                parameter.normal_(std=0.2)
