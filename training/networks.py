"""The shapes of the model: VAE, text encoders, transformer, scheduler, in classes `FluxPipeline` loads.

Owns every architectural number. Knows nothing of data or training.
"""

from captions import TEXT_TOKENS, VOCABULARY_SIZE
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

LATENT_CHANNELS = 16
PIXELS_PER_TOKEN = 16  # a side: the VAE reduces 8 times, packing 2 times
TEXT_WIDTH = 256
POOLED_WIDTH = 128


def make_vae() -> AutoencoderKL:
    """An f8 autoencoder with 16 latent channels, without attention (any size works)."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 96, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=16,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


def make_text_encoder() -> CLIPTextModel:
    """The encoder whose pooled output (B, POOLED_WIDTH) modulates every block."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=POOLED_WIDTH,
            intermediate_size=2 * POOLED_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TEXT_TOKENS,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )


def make_text_encoder_2() -> T5EncoderModel:
    """The encoder whose hidden states (B, TEXT_TOKENS, TEXT_WIDTH) the image tokens attend to."""
    return T5EncoderModel(
        T5Config(
            vocab_size=VOCABULARY_SIZE,
            d_model=TEXT_WIDTH,
            d_kv=64,
            d_ff=2 * TEXT_WIDTH,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def make_transformer() -> FluxTransformer2DModel:
    """2 double and 6 single blocks, 8 heads of 32; zero modulation: every block starts as the identity."""
    transformer = FluxTransformer2DModel(
        in_channels=4 * LATENT_CHANNELS,
        num_layers=2,
        num_single_layers=6,
        attention_head_dim=32,
        num_attention_heads=8,
        joint_attention_dim=TEXT_WIDTH,
        pooled_projection_dim=POOLED_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(4, 14, 14),
    )
    modulations = [block.norm.linear for block in transformer.single_transformer_blocks]
    for block in transformer.transformer_blocks:
        modulations += [block.norm1.linear, block.norm1_context.linear]
    for linear in [*modulations, transformer.norm_out.linear, transformer.proj_out]:
        linear.weight.data.zero_()
        linear.bias.data.zero_()
    return transformer


def make_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Larger images need more noise to hide as much, so the schedule shifts with the token count."""
    return FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_image_seq_len=256,
        max_image_seq_len=4096,
        base_shift=0.6,
        max_shift=1.5,
    )


def shift_at(num_tokens: int) -> float:
    """The schedule's shift mu at an image of `num_tokens`; the same line as diffusers' `calculate_shift`."""
    config = make_scheduler().config
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    return config.base_shift + slope * (num_tokens - config.base_image_seq_len)


def make_pipeline(modules: dict, tokenizer: PreTrainedTokenizerFast) -> FluxPipeline:
    """Assemble the pipeline of `modules` (vae, transformer, text_encoder, text_encoder_2)."""
    return FluxPipeline(scheduler=make_scheduler(), tokenizer=tokenizer, tokenizer_2=tokenizer, **modules)
