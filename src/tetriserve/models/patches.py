"""Latent images as sequences of tokens: one token is a patch of p x p latent pixels.

What a token holds is ordered (channel, row, column), as in diffusers' `_pack_latents` and in a patch convolution.
"""

from torch import Tensor


def to_patches(latents: Tensor, patch: int) -> Tensor:
    """(B, C, H, W) -> (B, H/p · W/p, C·p·p)."""
    B, C, H, W = latents.shape
    cut = latents.reshape(B, C, H // patch, patch, W // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(B, -1, C * patch * patch)


def from_patches(tokens: Tensor, patch: int, height: int, width: int) -> Tensor:
    """(B, L, C·p·p) -> (B, C, height, width), of latent pixels."""
    B, _, channels = tokens.shape
    cut = tokens.reshape(B, height // patch, width // patch, channels // patch**2, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(B, -1, height, width)
