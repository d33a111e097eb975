"""The training set of the transformer: packed latents and tokenised captions, all resident on the device.

Owns which sizes are trained, and how often. Knows nothing of the loss.
"""

import random
from dataclasses import dataclass

import captions
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from networks import PIXELS_PER_TOKEN
from sprites import Sprites

PIXELS_PER_CHUNK = 8 * 2**20
EARLY = 0.4  # of the schedule: small images first, three times as many for the same arithmetic


@dataclass(frozen=True)
class Size:
    """An image size, its share of steps early and late, and the sprites encoded at it (every n-th)."""

    height: int
    width: int
    early_share: float
    late_share: float
    every: int = 1

    @property
    def num_tokens(self) -> int:
        """Image tokens of this size."""
        return (self.height // PIXELS_PER_TOKEN) * (self.width // PIXELS_PER_TOKEN)


SIZES = (
    Size(256, 256, 0.25, 0.68),
    Size(128, 128, 0.70, 0.18),
    Size(512, 512, 0.01, 0.05, every=4),
    Size(192, 320, 0.02, 0.045, every=2),
    Size(320, 192, 0.02, 0.045, every=2),
)


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


def encode_rows(vae: AutoencoderKL, sprites: Sprites, rows: torch.Tensor, size: Size) -> torch.Tensor:
    """Encode each of the rows' sprites alone on white at `size`."""
    chunk = max(1, PIXELS_PER_CHUNK // (size.height * size.width))
    return torch.cat([encode(vae, sprites.single(part, size.height, size.width)) for part in rows.split(chunk)])


class TrainingSet:
    """Encodes everything once, then hands out random batches without leaving the device."""

    def __init__(
        self, sprites: Sprites, vae: AutoencoderKL, captions_of_rows: torch.Tensor, empty: torch.Tensor
    ) -> None:
        """Take (N, K, T) int16, K captions for each row, and the empty prompt's tokens (T,) int16."""
        self.empty = empty.to(sprites.device)
        tokens = captions_of_rows.to(sprites.device)
        self.latents: dict[Size, torch.Tensor] = {}  # (N, L, 64) fp16
        self.tokens: dict[Size, torch.Tensor] = {}  # (N, K, T) int16
        for size in SIZES:
            rows = torch.arange(0, len(sprites), size.every, device=sprites.device)
            self.latents[size], self.tokens[size] = encode_rows(vae, sprites, rows, size), tokens[rows]

    def batch(self, max_tokens: int, caption_dropout: float, progress: float, generator: random.Random) -> Batch:
        """A batch of one size with about `max_tokens` tokens, text included."""
        shares = [size.early_share if progress < EARLY else size.late_share for size in SIZES]
        size = generator.choices(SIZES, shares)[0]
        latents, all_tokens = self.latents[size], self.tokens[size]
        count, num_captions = all_tokens.shape[:2]
        num = max(1, max_tokens // (size.num_tokens + captions.TEXT_TOKENS))
        device = latents.device
        images = torch.randint(count, (num,), device=device)
        tokens = all_tokens[images, torch.randint(num_captions, (num,), device=device)]
        is_dropped = torch.rand(num, 1, device=device) < caption_dropout
        tokens = torch.where(is_dropped, self.empty, tokens)
        return Batch(latents[images].float(), tokens.long(), size)
