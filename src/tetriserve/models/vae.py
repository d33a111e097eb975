"""From latents to an image."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from tetriserve.core.errors import RequestFailedError
from tetriserve.models.group_norm import fuse_decoder

TILE_PX = 512
"""A side of the tiles that large images are made of where memory is short."""
STRIDE_PX = 384
"""From one tile to the next: over the rest they are blended."""


def make_ready(vae: Any, device: torch.device) -> None:
    """Once, before anything is decoded."""
    if device.type == "cuda" and is_for_images(vae):
        fuse_decoder(vae)


def decode_image(vae: Any, latents: Tensor, *, tiled: bool = False) -> Tensor:
    """Latents (1, C, h, w) as the VAE wants them -> (height, width, 3) uint8 on the CPU.

    Source: VaeImageProcessor.postprocess.

    With `tiled` memory is taken for one tile at a time; norms see a tile instead of the image, so tones differ a
    little. Raises RequestFailedError if pixels are not finite.
    """
    with _tiles(vae) if tiled else nullcontext():
        decoded: Tensor = vae.decode(latents if is_for_images(vae) else latents[:, :, None], return_dict=False)[0]
    if not decoded.isfinite().all():
        raise RequestFailedError("the decoded image holds NaN or infinity")
    pixels = (decoded.flatten(1, -3)[0] * 0.5 + 0.5).clamp(0, 1)
    return (pixels.permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu()


def is_for_images(vae: Any) -> bool:
    """Whether a VAE works on images (B, C, H, W), not on videos (B, C, T, H, W) of which an image is the only frame."""
    return isinstance(vae, AutoencoderKL)


def encode_images(vae: Any, pixels: Tensor) -> Tensor:
    """Images (B, 3, H, W) from -1 to 1 -> their latents (B, C, h, w), as the VAE makes them."""
    given = pixels.to(vae.dtype)
    found: Tensor = vae.encode(given if is_for_images(vae) else given[:, :, None]).latent_dist.mode()
    return found.flatten(1, -3)


@contextmanager
def _tiles(vae: Any) -> Iterator[None]:
    if is_for_images(vae):
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
