"""Qwen-Image: diffusers' components, stepped from outside. Source: QwenImagePipeline.

A prompt's tokens are as many as it has; here they are padded to one length, so that steps of one size have one shape,
and what is padded is not attended to.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tetriserve.core.size import Size
from tetriserve.models.adapter import RequestState
from tetriserve.models.attention import JointAttention
from tetriserve.models.packed_transformer import BoundTransformer, PackedTransformer, Packing
from tetriserve.models.patch_adapter import PATCH, PatchAdapter
from tetriserve.models.program import Layout, Prepared, Shape, StepProgram, linear_guidance
from tetriserve.models.prompt_cache import Encoded
from tetriserve.models.qwen_network import pack_qwen, positions, rotary
from tetriserve.models.ulysses import SequenceGroup


def rescaled_guidance(positive: Tensor, negative: Tensor, scales: Tensor) -> Tensor:
    """Guidance that leaves every token's velocity as long as the prompt's is."""
    guided = linear_guidance(positive, negative, scales)
    length, wanted = (torch.linalg.vector_norm(one, dim=-1, keepdim=True) for one in (guided, positive))
    rescaled: Tensor = guided * (wanted / length)
    return rescaled


class QwenAdapter(PatchAdapter):
    """Implements ModelAdapter for a QwenImagePipeline."""

    def _pack(self, transformer: Any, packing: Packing) -> PackedTransformer:
        return pack_qwen(transformer, packing)

    def prepare(self, state: RequestState) -> Prepared:
        """Embedded text, and the modulations of all steps at once, which no prompt changes."""
        embeddings, valid = state.conditioning
        network = self._pipe.transformer
        times = state.timesteps.to(self._dtype) / 1000
        table = self._network.modulation_table(network.time_text_embed(times, state.latents))
        text = self._network.text_in(network.txt_norm(embeddings.transpose(0, 1).contiguous()))
        return Prepared(text, table[:, None].expand(-1, text.shape[1], -1, -1), valid.t() > 0)

    def program(self, size: Size, shape: Shape, group: SequenceGroup) -> StepProgram:
        """Bind the network to a shape and a group."""
        layout = Layout.of(shape, group)
        height, width = (side // PATCH for side in self._latent_shape(size)[-2:])
        text, image = positions(shape.num_text, height, width)
        places = torch.cat((layout.text.shard(text), layout.image.shard(image)))
        angles = rotary(self._config.axes_dims_rope, places, self._device)
        attention = JointAttention.of(layout, self.heads, self._device, angles, masked=True)
        return StepProgram(layout, BoundTransformer(self._network, attention), rescaled_guidance)

    def _encode_prompt(self, prompt: str, device: torch.device) -> Encoded:
        """Embeddings (1, t, C), padded with zeros, and ones where there are tokens (1, t)."""
        length = self.card.max_sequence_length
        embeddings, _ = self._pipe.encode_prompt(prompt, device=device, max_sequence_length=length)
        num_tokens = embeddings.shape[1]
        valid = embeddings.new_zeros(1, length)
        valid[:, :num_tokens] = 1
        return F.pad(embeddings, (0, 0, 0, length - num_tokens)), valid

    def _conditioning_shapes(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        rows, length = len(prompts), self.card.max_sequence_length
        return (rows, length, self._config.joint_attention_dim), (rows, length)

    def _readers(self) -> Sequence[tuple[Any, int, str]]:
        return ((self._pipe.tokenizer, self.card.max_sequence_length, "Qwen2.5-VL"),)

    def _to_vae(self, latents: Tensor) -> Tensor:
        config = self._pipe.vae.config
        mean, std = (
            latents.new_tensor(values).view(1, -1, 1, 1) for values in (config.latents_mean, config.latents_std)
        )
        return latents * std + mean
