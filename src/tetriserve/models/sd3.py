"""Stable Diffusion 3 and 3.5: diffusers' components, stepped from outside. Source: StableDiffusion3Pipeline.

Two CLIP text encoders and T5, which a directory may leave out; guidance by two passes; no skip-layer guidance.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tetriserve.core.size import Size
from tetriserve.models.adapter import RequestState
from tetriserve.models.attention import JointAttention
from tetriserve.models.flow_match import own_schedule
from tetriserve.models.packed_transformer import BoundTransformer, PackedTransformer, Packing
from tetriserve.models.patch_adapter import PatchAdapter
from tetriserve.models.program import Layout, Prepared, Shape, StepProgram
from tetriserve.models.prompt_cache import Encoded
from tetriserve.models.sd3_network import pack_sd3, positions
from tetriserve.models.ulysses import SequenceGroup


class SD3Adapter(PatchAdapter):
    """Implements ModelAdapter for a StableDiffusion3Pipeline."""

    def _pack(self, transformer: Any, packing: Packing) -> PackedTransformer:
        return pack_sd3(transformer, packing)

    def prepare(self, state: RequestState) -> Prepared:
        """Embedded text, and the modulations of all steps at once."""
        embeddings, pooled = state.conditioning
        steps, passes = state.timesteps.shape[0], pooled.shape[0]
        times = state.timesteps.repeat_interleave(passes)
        embedding = self._pipe.transformer.time_text_embed(times, pooled.repeat(steps, 1))
        table = self._network.modulation_table(embedding)
        text = self._network.text_in(embeddings.transpose(0, 1).contiguous())
        return Prepared(text, torch.unflatten(table, 0, (steps, passes)))

    def program(self, size: Size, shape: Shape, group: SequenceGroup) -> StepProgram:
        """Bind the network to a shape and a group."""
        layout = Layout.of(shape, group)
        image_alone = bool(self._config.dual_attention_layers)
        attention = JointAttention.of(layout, self.heads, self._device, image_alone=image_alone)
        where = layout.image.shard(positions(self._pipe.transformer.pos_embed, *self._latent_shape(size)[-2:]))
        return StepProgram(layout, BoundTransformer(self._network, attention, where))

    def _encode_prompt(self, prompt: str, device: torch.device) -> Encoded:
        """Embeddings of CLIP and then T5 (1, t, C), and pooled ones of CLIP (1, C)."""
        embeddings, _, pooled, _ = self._pipe.encode_prompt(
            prompt,
            None,
            None,
            device=device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.card.max_sequence_length,
        )
        return embeddings, pooled

    def _conditioning_shapes(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        config, rows = self._config, len(prompts)
        num_text = self._pipe.tokenizer_max_length + self.card.max_sequence_length
        return (rows, num_text, config.joint_attention_dim), (rows, config.pooled_projection_dim)

    def _readers(self) -> Sequence[tuple[Any, int, str]]:
        pipe = self._pipe
        clip = (pipe.tokenizer, pipe.tokenizer_max_length, "CLIP")
        return (
            (clip,) if pipe.text_encoder_3 is None else (clip, (pipe.tokenizer_3, self.card.max_sequence_length, "T5"))
        )

    def _schedule(self, num_steps: int, num_tokens: int) -> tuple[Tensor, Tensor]:
        return own_schedule(self._pipe.scheduler, num_steps, num_tokens, self._device)

    def _latent_channels(self) -> int:
        channels: int = self._config.in_channels
        return channels
