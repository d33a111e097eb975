"""From latents to an image."""

from typing import Any

import torch
from torch import Tensor

from tetriserve.core.errors import RequestFailedError


def decode_image(vae: Any, latents: Tensor) -> Tensor:
    """(1, C, h, w) as the VAE wants them -> (height, width, 3) uint8 on the CPU. Source: VaeImageProcessor.postprocess.

    Raises RequestFailedError if pixels are not finite.
    """
    decoded: Tensor = vae.decode(latents, return_dict=False)[0]
    if not decoded.isfinite().all():
        raise RequestFailedError("the decoded image holds NaN or infinity")
    pixels = (decoded[0] * 0.5 + 0.5).clamp(0, 1)
    return (pixels.permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu()
