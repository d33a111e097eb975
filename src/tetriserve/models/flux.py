"""FLUX.1: diffusers' components, stepped from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from tetriserve.core.errors import ConfigurationError, RequestFailedError
from tetriserve.core.request import Request
from tetriserve.models.adapter import RequestState
from tetriserve.models.card import ModelCard
from tetriserve.models.flow_match import schedule
from tetriserve.models.flux_attention import FluxUlyssesProcessor
from tetriserve.models.prompt import cut_warning
from tetriserve.models.ulysses import SequenceGroup, TokenSplit


@dataclass(frozen=True, slots=True)
class FluxNetwork:
    """The transformer with one batch's conditioning on one rank. R rows: one for each forward pass of each state.

    Source: FluxPipeline.__call__, step 6; differs: the two halves of true CFG are rows of one batch.
    """

    transformer: Any
    latent_split: TokenSplit
    joint_split: TokenSplit
    embeddings: Tensor  # (R, t, C) this rank's text tokens
    pooled: Tensor  # (R, C)
    text_ids: Tensor  # (t, 3)
    image_ids: Tensor  # (l, 3)
    guidance: Tensor | None  # (R,)
    rows: tuple[int, ...]  # of each state: 2 with true CFG, else 1
    scales: tuple[float, ...]

    def __call__(self, latents: Sequence[Tensor], timesteps: Sequence[Tensor]) -> list[Tensor]:
        """Velocities (1, l, C) of states with latents (1, l, C) at 0-dim timesteps."""
        hidden = torch.cat([x.expand(rows, -1, -1) for x, rows in zip(latents, self.rows, strict=True)])
        times = torch.cat([t.expand(rows) for t, rows in zip(timesteps, self.rows, strict=True)])
        velocity = self.transformer(
            hidden_states=hidden,
            timestep=times.to(hidden.dtype) / 1000,
            guidance=self.guidance,
            pooled_projections=self.pooled,
            encoder_hidden_states=self.embeddings,
            txt_ids=self.text_ids,
            img_ids=self.image_ids,
            joint_attention_kwargs={"split": self.joint_split},
            return_dict=False,
        )[0]
        parts = torch.split(velocity, list(self.rows))
        return [_guided(part, scale) for part, scale in zip(parts, self.scales, strict=True)]


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
        self._pipe.transformer.set_attn_processor(FluxUlyssesProcessor())

    def encode(self, request: Request) -> RequestState:
        """Encode the prompt, and the negative one where true CFG needs it, and draw noise from the seed."""
        prompts = [request.prompt, request.negative_prompt][: self._rows(request)]
        encoded = [
            self._pipe.encode_prompt(p, device=self._device, max_sequence_length=self.card.max_sequence_length)
            for p in prompts
        ]
        generator = torch.Generator("cpu").manual_seed(request.seed)
        latents, _ = self._prepare_latents(request, generator=generator)
        conditioning = (torch.cat([one[0] for one in encoded]), torch.cat([one[1] for one in encoded]))
        return self._state(request, latents, conditioning, self._warnings(prompts))

    def blank(self, request: Request) -> RequestState:
        """Zeros where `encode` has prompt embeddings and noise."""
        config, rows = self._pipe.transformer.config, self._rows(request)
        embeddings = self._zeros(rows, self.card.max_sequence_length, config.joint_attention_dim)
        pooled = self._zeros(rows, config.pooled_projection_dim)
        patch = self._pipe.vae_scale_factor * 2
        num_tokens = (request.size.height // patch) * (request.size.width // patch)
        return self._state(request, self._zeros(1, num_tokens, config.in_channels), (embeddings, pooled), ())

    def network(self, states: Sequence[RequestState], group: SequenceGroup) -> FluxNetwork:
        """Shard a batch's conditioning over the group."""
        embeddings, pooled = (torch.cat([s.conditioning[i] for s in states]) for i in range(2))
        text_ids = self._zeros(embeddings.shape[1], 3)
        _, image_ids = self._prepare_latents(states[0].request, latents=states[0].latents)
        text_split = TokenSplit.even(embeddings.shape[1], group)
        image_split = TokenSplit.even(states[0].latents.shape[1], group)
        rows = tuple(self._rows(s.request) for s in states)
        return FluxNetwork(
            transformer=self._pipe.transformer,
            latent_split=image_split,
            joint_split=text_split.joined(image_split),
            embeddings=text_split.shard(embeddings, dim=1),
            pooled=pooled,
            text_ids=text_split.shard(text_ids, dim=0),
            image_ids=image_split.shard(image_ids, dim=0),
            guidance=self._guidance(states, rows),
            rows=rows,
            scales=tuple(s.request.guidance_scale for s in states),
        )

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

    def _guidance(self, states: Sequence[RequestState], rows: Sequence[int]) -> Tensor | None:
        """Guidance (R,) in fp32 for a network that takes it as an input; diffusers' 3.5 if the card doesn't use it."""
        if not self._pipe.transformer.config.guidance_embeds:
            return None
        embedded = self.card.guidance == "embedded"
        scales = [s.request.guidance_scale if embedded else 3.5 for s in states]
        values = [scale for scale, n in zip(scales, rows, strict=True) for _ in range(n)]
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def _prepare_latents(self, request: Request, **noise: Any) -> tuple[Tensor, Tensor]:
        """Packed latents (1, L, C) and their position ids (L, 3)."""
        channels = self._pipe.transformer.config.in_channels // 4
        height, width = request.size.height, request.size.width
        latents, ids = self._pipe.prepare_latents(
            1, channels, height, width, self._dtype, self._device, noise.get("generator"), noise.get("latents")
        )
        return latents, ids

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


def _guided(velocity: Tensor, scale: float) -> Tensor:
    """(rows, l, C) -> (1, l, C): classifier-free guidance if there are two rows, [prompt, negative prompt]."""
    if velocity.shape[0] == 1:
        return velocity
    positive, negative = velocity[:1], velocity[1:]
    return negative + scale * (positive - negative)
