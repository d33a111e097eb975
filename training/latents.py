"""The training set of the transformer: packed latents and tokenised captions, all resident on the device.

Owns which sizes are trained, and how often. Knows nothing of the loss.
"""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import captions
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from networks import PIXELS_PER_TOKEN
from pictures import Picture
from sprites import Sprites

PIXELS_PER_CHUNK = 8 * 2**20
PHASES = (0.3, 0.75)  # of the schedule: small images first, many for the same arithmetic; large ones in the end
SHARE_PLAIN = 0.7  # of a batch: sprites as they are


@dataclass(frozen=True)
class Size:
    """An image size, its share of steps in each phase, and the varied pictures encoded at it (every n-th)."""

    height: int
    width: int
    shares: tuple[float, float, float]
    every: int = 1

    @property
    def num_tokens(self) -> int:
        """Image tokens of this size."""
        return (self.height // PIXELS_PER_TOKEN) * (self.width // PIXELS_PER_TOKEN)


SIZES = (
    Size(256, 256, (0.26, 0.52, 0.37)),
    Size(128, 128, (0.68, 0.18, 0.11)),
    Size(512, 512, (0.02, 0.20, 0.42), every=4),
    Size(192, 320, (0.02, 0.05, 0.05), every=2),
    Size(320, 192, (0.02, 0.05, 0.05), every=2),
)


@dataclass(frozen=True)
class Captioned:
    """Pictures, and tokens (N, K, T) int16 of K captions of each."""

    pictures: Sequence[Picture]
    tokens: torch.Tensor

    def every(self, n: int) -> "Captioned":
        """Every n-th of them."""
        return Captioned(self.pictures[::n], self.tokens[::n])


@dataclass(frozen=True)
class Batch:
    """One size, random images, a random caption of each."""

    latents: torch.Tensor  # (B, L, 64) float32
    tokens: torch.Tensor  # (B, T) int64
    size: Size


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Fold 2x2 latent pixels into one token, in FluxPipeline's order."""
    return rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Encode (B, 3, H, W) in -1..1 to normalised packed latents (B, L, 64) fp16."""
    with torch.autocast(images.device.type, torch.bfloat16):
        mean = vae.encode(images.contiguous(memory_format=torch.channels_last)).latent_dist.mean.float()
    return pack((mean - vae.config.shift_factor) * vae.config.scaling_factor).half()


def encode_pictures(vae: AutoencoderKL, sprites: Sprites, pictures: Sequence[Picture], size: Size) -> torch.Tensor:
    """Encode pictures at `size`: (N, L, 64) fp16."""
    num = max(1, PIXELS_PER_CHUNK // (size.height * size.width))
    chunks = [pictures[first : first + num] for first in range(0, len(pictures), num)]
    return torch.cat([encode(vae, sprites.draw(chunk, size.height, size.width)) for chunk in chunks])


@dataclass(frozen=True)
class Pool:
    """Pictures of one size and kind, and their captions."""

    latents: torch.Tensor  # (N, L, 64) fp16
    tokens: torch.Tensor  # (N, K, T) int16

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random latents (count, L, 64), and one of the captions of each (count, T)."""
        device, (num, num_captions) = self.latents.device, self.tokens.shape[:2]
        images = torch.randint(num, (count,), device=device)
        return self.latents[images], self.tokens[images, torch.randint(num_captions, (count,), device=device)]


class TrainingSet:
    """Encodes everything once, then hands out random batches without leaving the device."""

    def __init__(
        self, sprites: Sprites, vae: AutoencoderKL, plain: Captioned, varied: Captioned, empty: torch.Tensor
    ) -> None:
        """Take what is to be seen as it is and varied, and the empty prompt's tokens (T,) int16."""
        self.empty = empty.to(sprites.device)
        self.pools = {
            size: [
                Pool(encode_pictures(vae, sprites, part.pictures, size), part.tokens.to(sprites.device))
                for part in (plain, varied.every(size.every))
            ]
            for size in SIZES
        }

    def batch(self, max_tokens: int, caption_dropout: float, progress: float, generator: random.Random) -> Batch:
        """A batch of one size with about `max_tokens` tokens, text included."""
        phase = bisect(PHASES, progress)
        size = generator.choices(SIZES, [size.shares[phase] for size in SIZES])[0]
        num = max(1, max_tokens // (size.num_tokens + captions.TEXT_TOKENS))
        num_plain = round(num * SHARE_PLAIN)
        plain, varied = self.pools[size]
        drawn = plain.draw(num_plain), varied.draw(num - num_plain)
        latents, tokens = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        is_dropped = torch.rand(num, 1, device=latents.device) < caption_dropout
        return Batch(latents.float(), torch.where(is_dropped, self.empty, tokens).long(), size)
