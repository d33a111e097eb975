"""FLUX.1: diffusers' components, stepped from outside. Source: FluxPipeline."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.adapter import RequestState
from tetriserve.models.attention import JointAttention
from tetriserve.models.flux_network import pack_flux, rotary
from tetriserve.models.packed_transformer import BoundTransformer, PackedTransformer, Packing
from tetriserve.models.patch_adapter import PATCH, PatchAdapter
from tetriserve.models.program import Layout, Prepared, Shape, StepProgram
from tetriserve.models.prompt_cache import Encoded
from tetriserve.models.ulysses import SequenceGroup


class FluxAdapter(PatchAdapter):
    """Implements ModelAdapter for a FluxPipeline."""

    def _pack(self, transformer: Any, packing: Packing) -> PackedTransformer:
        return pack_flux(transformer, packing)

    def prepare(self, state: RequestState) -> Prepared:
        """Embedded text, and the modulations of all steps at once. Source: FluxPipeline.__call__, step 6."""
        embeddings, pooled = state.conditioning
        steps, passes = state.timesteps.shape[0], pooled.shape[0]
        # The pipeline casts to the network's dtype before it divides, the network before it multiplies.
        times = (state.timesteps.to(self._dtype) / 1000).to(self._dtype) * 1000
        guidance = self._guidance(state.request)
        inputs = [times.repeat_interleave(passes), pooled.repeat(steps, 1)]
        if guidance is not None:
            inputs.insert(1, guidance.expand(steps * passes))
        table = self._network.modulation_table(self._pipe.transformer.time_text_embed(*inputs))
        text = self._network.text_in(embeddings.transpose(0, 1).contiguous())
        return Prepared(text, torch.unflatten(table, 0, (steps, passes)))

    def program(self, size: Size, shape: Shape, group: SequenceGroup) -> StepProgram:
        """Bind the network to a shape and a group."""
        layout = Layout.of(shape, group)
        image_ids = self._image_ids(size)
        text_ids = image_ids.new_zeros(shape.num_text, 3)
        angles = rotary(self._pipe.transformer.pos_embed, layout.text.shard(text_ids), layout.image.shard(image_ids))
        attention = JointAttention.of(layout, self.heads, self._device, angles)
        return StepProgram(layout, BoundTransformer(self._network, attention))

    def _encode_prompt(self, prompt: str, device: torch.device) -> Encoded:
        """Embeddings of T5 (1, t, C) and pooled ones of CLIP (1, C)."""
        length = self.card.max_sequence_length
        embeddings, pooled, _ = self._pipe.encode_prompt(prompt, device=device, max_sequence_length=length)
        return embeddings, pooled

    def _conditioning_shapes(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        config, rows = self._config, len(prompts)
        return (rows, self.card.max_sequence_length, config.joint_attention_dim), (rows, config.pooled_projection_dim)

    def _readers(self) -> Sequence[tuple[Any, int, str]]:
        pipe = self._pipe
        return (
            (pipe.tokenizer_2, self.card.max_sequence_length, "T5"),
            (pipe.tokenizer, pipe.tokenizer_max_length, "CLIP"),
        )

    def _guidance(self, request: Request) -> Tensor | None:
        """Guidance (1,) for a network that takes it as an input; diffusers' 3.5 if the card doesn't use it."""
        if not self._config.guidance_embeds:
            return None
        scale = request.guidance_scale if self.card.guidance == "embedded" else 3.5
        return torch.full((1,), scale, dtype=torch.float32, device=self._device).to(self._dtype) * 1000

    def _image_ids(self, size: Size) -> Tensor:
        """Positions (L, 3) of an image's tokens."""
        patch = self._pipe.vae_scale_factor * PATCH
        ids: Tensor = self._pipe._prepare_latent_image_ids(
            1, size.height // patch, size.width // patch, self._device, self._dtype
        )
        return ids
