"""From latents to an image."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from tetriserve.core.errors import RequestFailedError

TILE_PX = 512
"""A side of the tiles that large images are made of where memory is short."""
STRIDE_PX = 384
"""From one tile to the next: over the rest they are blended."""


def decode_image(vae: Any, latents: Tensor, *, tiled: bool = False) -> Tensor:
    """Latents as the VAE wants them -> (height, width, 3) uint8 on the CPU. Source: VaeImageProcessor.postprocess.

    With `tiled` memory is taken for one tile at a time; norms see a tile instead of the image, so tones differ a
    little. Raises RequestFailedError if pixels are not finite.
    """
    with _tiles(vae) if tiled else nullcontext():
        decoded: Tensor = vae.decode(latents, return_dict=False)[0]
    if not decoded.isfinite().all():
        raise RequestFailedError("the decoded image holds NaN or infinity")
    image = decoded[0, :, 0] if decoded.dim() == 5 else decoded[0]  # the first frame of a video
    pixels = (image * 0.5 + 0.5).clamp(0, 1)
    return (pixels.permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu()


@contextmanager
def _tiles(vae: Any) -> Iterator[None]:
    if isinstance(vae, AutoencoderKL):
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.tile_sample_min_size, vae.tile_latent_min_size = TILE_PX, TILE_PX // scale
        vae.tile_overlap_factor = 1 - STRIDE_PX / TILE_PX
        vae.enable_tiling()
    else:  # those for images and videos
        vae.enable_tiling(TILE_PX, TILE_PX, STRIDE_PX, STRIDE_PX)
    try:
        yield
    finally:
        vae.disable_tiling()
