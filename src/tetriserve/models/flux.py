"""FLUX.1: diffusers' components, stepped from outside."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from tetriserve.core.errors import ConfigurationError, RequestFailedError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.adapter import RequestState
from tetriserve.models.attention import HeadsShape, JointAttention
from tetriserve.models.card import ModelCard
from tetriserve.models.flow_match import schedule
from tetriserve.models.flux_network import FluxNetwork
from tetriserve.models.program import Layout, Prepared, Shape, StepProgram
from tetriserve.models.prompt import cut_warning
from tetriserve.models.ulysses import SequenceGroup


class FluxAdapter:
    """Implements ModelAdapter for a FluxPipeline whose modules are on their device."""

    def __init__(self, pipeline: Any, card: ModelCard, device: torch.device) -> None:
        scheduler: Any = pipeline.scheduler
        if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            raise ConfigurationError(f"scheduler {type(scheduler).__name__} is not supported for FLUX")
        if pipeline.scheduler.config.get("stochastic_sampling"):
            raise ConfigurationError("a scheduler with stochastic_sampling is not supported")
        self.card = card
        self._pipe = pipeline
        self._device = device
        self._dtype: torch.dtype = self._pipe.transformer.dtype
        self._config = self._pipe.transformer.config
        self._network = FluxNetwork.pack(self._pipe.transformer)

    @property
    def heads(self) -> HeadsShape:
        """The attention heads of the network."""
        return HeadsShape(self._config.num_attention_heads, self._config.attention_head_dim, self._dtype)

    def encode(self, request: Request) -> RequestState:
        """Encode the prompt, and the negative one where true CFG needs it, and draw noise from the seed."""
        prompts = [request.prompt, request.negative_prompt][: self._rows(request)]
        encoded = [
            self._pipe.encode_prompt(p, device=self._device, max_sequence_length=self.card.max_sequence_length)
            for p in prompts
        ]
        generator = torch.Generator("cpu").manual_seed(request.seed)
        latents = self._prepare_latents(request, generator)
        conditioning = (torch.cat([one[0] for one in encoded]), torch.cat([one[1] for one in encoded]))
        return self._state(request, latents, conditioning, self._warnings(prompts))

    def blank(self, request: Request) -> RequestState:
        """Zeros where `encode` has prompt embeddings and noise."""
        config, rows = self._config, self._rows(request)
        embeddings = self._zeros(rows, self.card.max_sequence_length, config.joint_attention_dim)
        pooled = self._zeros(rows, config.pooled_projection_dim)
        patch = self._pipe.vae_scale_factor * 2
        num_tokens = (request.size.height // patch) * (request.size.width // patch)
        return self._state(request, self._zeros(1, num_tokens, config.in_channels), (embeddings, pooled), ())

    def shape(self, state: RequestState, batch: int) -> Shape:
        """Text is padded to one length."""
        return Shape(self.card.max_sequence_length, state.latents.shape[1], batch, state.conditioning[0].shape[0])

    def prepare(self, state: RequestState) -> Prepared:
        """Embedded text, and the modulations of all steps at once. Source: FluxPipeline.__call__, step 6."""
        embeddings, pooled = state.conditioning
        steps, passes = state.timesteps.shape[0], pooled.shape[0]
        # The pipeline casts to the network's dtype before it divides, the network before it multiplies.
        times = (state.timesteps.to(self._dtype) / 1000).to(self._dtype) * 1000
        guidance = self._guidance(state.request)
        table = self._network.modulation_table(
            times.repeat_interleave(passes),
            None if guidance is None else guidance.expand(steps * passes),
            pooled.repeat(steps, 1),
        )
        text = self._network.text_in(embeddings.transpose(0, 1).contiguous())
        return Prepared(text, torch.unflatten(table, 0, (steps, passes)))

    def program(self, size: Size, shape: Shape, group: SequenceGroup) -> StepProgram:
        """Bind the network to a shape and a group."""
        layout = Layout.of(shape, group)
        image_ids = self._image_ids(size)
        rotary = self._network.rotary(
            layout.text.shard(image_ids.new_zeros(shape.num_text, 3)), layout.image.shard(image_ids)
        )
        attention = JointAttention.of(layout, self.heads, rotary, self._device)
        return StepProgram(layout, partial(self._network.velocity, attention=attention))

    def decode(self, state: RequestState) -> Tensor:
        """(height, width, 3) uint8 on the CPU. Source: FluxPipeline.__call__ and VaeImageProcessor.postprocess."""
        pipe, size = self._pipe, state.request.size
        x = pipe._unpack_latents(state.latents, size.height, size.width, pipe.vae_scale_factor)
        x = x / pipe.vae.config.scaling_factor + pipe.vae.config.shift_factor
        decoded: Tensor = pipe.vae.decode(x, return_dict=False)[0]
        if not decoded.isfinite().all():
            raise RequestFailedError("the decoded image holds NaN or infinity")
        image: Tensor = pipe.image_processor.postprocess(decoded, output_type="pt")
        return (image[0].permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu()

    def _rows(self, request: Request) -> int:
        """Forward passes a step: 2 with true CFG. Source: FluxPipeline.__call__ (`do_true_cfg`)."""
        return 2 if self.card.guidance == "true_cfg" and request.guidance_scale > 1 else 1

    def _guidance(self, request: Request) -> Tensor | None:
        """Guidance (1,) for a network that takes it as an input; diffusers' 3.5 if the card doesn't use it."""
        if not self._config.guidance_embeds:
            return None
        scale = request.guidance_scale if self.card.guidance == "embedded" else 3.5
        return torch.tensor([scale], device=self._device).to(self._dtype) * 1000

    def _prepare_latents(self, request: Request, generator: torch.Generator) -> Tensor:
        """Packed noise (1, L, C)."""
        channels = self._config.in_channels // 4
        height, width = request.size.height, request.size.width
        latents: Tensor = self._pipe.prepare_latents(
            1, channels, height, width, self._dtype, self._device, generator, None
        )[0]
        return latents

    def _image_ids(self, size: Size) -> Tensor:
        """Positions (L, 3) of an image's tokens."""
        patch = self._pipe.vae_scale_factor * 2
        ids: Tensor = self._pipe._prepare_latent_image_ids(
            1, size.height // patch, size.width // patch, self._device, self._dtype
        )
        return ids

    def _state(
        self, request: Request, latents: Tensor, conditioning: tuple[Tensor, ...], warnings: tuple[str, ...]
    ) -> RequestState:
        steps, num_tokens = request.num_inference_steps, latents.shape[1]
        timesteps, sigmas = schedule(self._pipe.scheduler, steps, num_tokens, self._device)
        return RequestState(request, latents, conditioning, timesteps, sigmas, warnings)

    def _warnings(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """What the text encoders didn't read."""
        pipe = self._pipe
        limits = (
            (pipe.tokenizer_2, self.card.max_sequence_length, "T5"),
            (pipe.tokenizer, pipe.tokenizer_max_length, "CLIP"),
        )
        found = [cut_warning(p, *limit) for p in prompts for limit in limits]
        return tuple(warning for warning in found if warning is not None)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self._dtype, device=self._device)
