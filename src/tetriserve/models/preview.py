"""Cheap pictures of unfinished latents: a linear map from a latent's channels to the mean colour of its patch.

Fitted to the VAE once at load, on a few soft colour fields, so it needs no constants of any model.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from tetriserve.models.vae import encode_images

NUM_FIELDS = 4
FIELD_PX = 64
RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class LatentColours:
    """`weights` (C + 1, 3) in fp32: colours in [0, 1] are [latent, 1] @ weights."""

    weights: Tensor

    @classmethod
    def fit(cls, vae: Any, device: torch.device) -> Self:
        """Least squares over encoded colour fields. Latents are those that the VAE encodes to and decodes from."""
        with torch.inference_mode():
            fields = _colour_fields().to(device)
            latents = encode_images(vae, fields * 2 - 1).float()
            colours = F.avg_pool2d(fields, FIELD_PX // latents.shape[-1])
            x, y = _with_one(latents), colours.permute(0, 2, 3, 1).reshape(-1, 3)
            gram = x.T @ x + RIDGE * len(x) * torch.eye(x.shape[1], device=device)
            return cls(torch.linalg.solve(gram, x.T @ y))

    def picture(self, latents: Tensor) -> Tensor:
        """Latents (1, C, h, w) -> (h, w, 3) uint8, without waiting for the device: one pixel a latent."""
        _, _, height, width = latents.shape
        colours = (_with_one(latents.float()) @ self.weights).nan_to_num().clamp(0, 1)
        return (colours * 255).round().to(torch.uint8).view(height, width, 3)


def _with_one(latents: Tensor) -> Tensor:
    """(N, C, h, w) -> (N * h * w, C + 1)."""
    rows = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    return torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)


def _colour_fields() -> Tensor:
    """Smooth images (N, 3, px, px) in [0, 1] of all colours, the extreme ones too."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(NUM_FIELDS, 3, 4, 4, generator=generator) * 1.5 - 0.25
    return F.interpolate(corners, size=(FIELD_PX, FIELD_PX), mode="bilinear").clamp(0, 1)
