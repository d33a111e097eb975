"""What all models have in common that denoise patches of a latent image by flow matching with an Euler solver.

A model's own file says how prompts are encoded, how its network is packed and called, and what the VAE wants.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.adapter import RequestState
from tetriserve.models.attention import HeadsShape
from tetriserve.models.card import ModelCard
from tetriserve.models.encoders import HOST, TextEncoders
from tetriserve.models.flow_match import check_scheduler, linear_schedule
from tetriserve.models.packed_transformer import PackedTransformer, Packing
from tetriserve.models.patches import from_patches, to_patches
from tetriserve.models.preview import LatentColours
from tetriserve.models.program import Prepared, Shape, StepProgram
from tetriserve.models.prompt import cut_warning
from tetriserve.models.prompt_cache import Encoded
from tetriserve.models.ulysses import SequenceGroup
from tetriserve.models.vae import decode_image, make_ready

PATCH = 2
"""A token is a patch of 2 x 2 latent pixels."""


class PatchAdapter(ABC):
    """Most of a ModelAdapter, for a diffusers pipeline whose VAE is on its device; the network is moved there."""

    def __init__(self, pipeline: Any, card: ModelCard, packing: Packing, encoders: TextEncoders) -> None:
        check_scheduler(pipeline.scheduler)
        self.card = card
        self._pipe = pipeline
        self._encoders = encoders
        self._host = ThreadPoolExecutor(1, thread_name_prefix="noise")
        self._device = packing.device
        self._dtype: torch.dtype = pipeline.transformer.dtype
        self._config = pipeline.transformer.config
        self._colours = LatentColours.fit(pipeline.vae, self._device)
        make_ready(pipeline.vae, self._device)
        self._network = self._pack(pipeline.transformer, packing)

    # --- of each model ------------------------------------------------------------------------------------------------

    @abstractmethod
    def _pack(self, transformer: Any, packing: Packing) -> PackedTransformer:
        """Take over the weights of the pipeline's network."""

    @abstractmethod
    def _encode_prompt(self, prompt: str, device: torch.device) -> Encoded:
        """Conditioning of a prompt: tensors (1, ...). The text encoders are on `device`."""

    @abstractmethod
    def _conditioning_shapes(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        """Those of the conditioning of P prompts: (P, ...)."""

    @abstractmethod
    def _readers(self) -> Sequence[tuple[Any, int, str]]:
        """Tokenizers, how many tokens of a prompt they keep, and the name of the encoder behind them."""

    @abstractmethod
    def prepare(self, state: RequestState) -> Prepared:
        """Embedded text, and the modulations of all steps at once."""

    @abstractmethod
    def program(self, size: Size, shape: Shape, group: SequenceGroup) -> StepProgram:
        """Bind the network to a shape and a group."""

    def _to_vae(self, latents: Tensor) -> Tensor:
        """What the VAE decodes, of latents (1, C, h, w). Source: `__call__` of FLUX's pipeline and of SD3's."""
        config = self._pipe.vae.config
        scaled: Tensor = latents / config.scaling_factor + config.shift_factor
        return scaled

    def _schedule(self, num_steps: int, num_tokens: int) -> tuple[Tensor, Tensor]:
        """Timesteps (num_steps,) and sigmas (num_steps + 1,)."""
        return linear_schedule(self._pipe.scheduler, num_steps, num_tokens, self._device)

    # --- of all -------------------------------------------------------------------------------------------------------

    @property
    def heads(self) -> HeadsShape:
        """The attention heads of the network."""
        return HeadsShape(self._config.num_attention_heads, self._config.attention_head_dim, self._dtype)

    def encode(self, request: Request) -> RequestState:
        """Encode the prompt, and the negative one where true CFG needs it, and draw noise from the seed."""
        prompts = self._prompts(request)
        drawn = self._host.submit(self._draw, request)  # 40 ms at 2048², which a GPU needs not wait for
        encoded = self._encoders.encoded(prompts, self._encode_prompt)
        conditioning = tuple(torch.cat(rows) for rows in zip(*encoded, strict=True))
        noise = drawn.result().to(self._device)
        return self._state(request, to_patches(noise, PATCH), conditioning, self._warnings(prompts))

    def blank(self, request: Request) -> RequestState:
        """Zeros where `encode` has prompt embeddings and noise."""
        conditioning = tuple(self._zeros(*shape) for shape in self._conditioning_shapes(self._prompts(request)))
        latents = to_patches(self._zeros(*self._latent_shape(request.size)), PATCH)
        return self._state(request, latents, conditioning, ())

    def shape(self, state: RequestState, batch: int) -> Shape:
        """`conditioning` begins with text embeddings (P, t, C)."""
        passes, num_text = state.conditioning[0].shape[:2]
        return Shape(num_text, state.latents.shape[1], batch, passes)

    def decode(self, state: RequestState, *, tiled: bool = False) -> Tensor:
        """(height, width, 3) uint8 on the CPU."""
        height, width = self._latent_shape(state.request.size)[-2:]
        latents = self._to_vae(from_patches(state.latents, PATCH, height, width))
        return decode_image(self._pipe.vae, latents, tiled=tiled)

    def preview(self, request: Request, latents: Tensor) -> Tensor:
        """One pixel a latent, so an eighth of the image's size."""
        height, width = self._latent_shape(request.size)[-2:]
        return self._colours.picture(self._to_vae(from_patches(latents, PATCH, height, width)))

    def _draw(self, request: Request) -> Tensor:
        """The first latents, on the host: there a seed means the same for every device."""
        generator = torch.Generator("cpu").manual_seed(request.seed)
        noise: Tensor = randn_tensor(self._latent_shape(request.size), generator, HOST, self._dtype)
        return noise

    def _prompts(self, request: Request) -> Sequence[str]:
        """One for each pass of a step: 2 with true CFG. Source: `do_true_cfg` and its like in the pipelines."""
        guided = self.card.guidance == "true_cfg" and request.guidance_scale > 1
        return (request.prompt, request.negative_prompt)[: 1 + guided]

    def _latent_shape(self, size: Size) -> tuple[int, int, int, int]:
        scale = self._pipe.vae_scale_factor
        return 1, self._latent_channels(), size.height // scale, size.width // scale

    def _latent_channels(self) -> int:
        channels: int = self._config.in_channels // PATCH**2
        return channels

    def _state(
        self, request: Request, latents: Tensor, conditioning: tuple[Tensor, ...], warnings: tuple[str, ...]
    ) -> RequestState:
        steps, num_tokens = request.num_inference_steps, latents.shape[1]
        timesteps, sigmas = self._schedule(steps, num_tokens)
        return RequestState(request, latents, conditioning, timesteps, sigmas, warnings)

    def _warnings(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """What the text encoders didn't read."""
        found = [cut_warning(prompt, *reader) for prompt in prompts for reader in self._readers()]
        return tuple(warning for warning in found if warning is not None)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self._dtype, device=self._device)
