"""Decoding in tiles: nearly the image that decoding at once gives, with less memory."""

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLQwenImage
from torch import Tensor

from models.peak_bytes import PeakBytes
from parity.checkpoint import make_vae
from parity.fixtures import EMBEDDED
from tetriserve.models import vae as module
from tetriserve.models.group_norm import GroupNormSiLU, fuse_decoder
from tetriserve.models.vae import decode_image


def smooth_latents(channels: int, height: int, width: int) -> Tensor:
    """(1, C, h, w), as images are: neighbours resemble each other."""
    noise = torch.randn(1, channels, height // 4, width // 4, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, size=(height, width), mode="bicubic")


def make_video_vae() -> AutoencoderKLQwenImage:
    torch.manual_seed(0)
    zeros, ones = [0.0] * 4, [1.0] * 4
    return AutoencoderKLQwenImage(4, 4, [1, 2, 2, 2], 1, latents_mean=zeros, latents_std=ones).eval()


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small images are large."""
    monkeypatch.setattr(module, "TILE_PX", 64)
    monkeypatch.setattr(module, "STRIDE_PX", 48)


@torch.inference_mode()
def test_tiles_blend_into_the_image_that_is_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a trained VAE. Norms see a tile instead of the image, so tones differ a little."""
    monkeypatch.setattr(module, "TILE_PX", 256)
    monkeypatch.setattr(module, "STRIDE_PX", 192)
    vae = AutoencoderKL.from_pretrained(EMBEDDED / "vae").eval()
    latents = smooth_latents(16, 48, 32)
    whole, tiled = (decode_image(vae, latents, tiled=tiled).float() for tiled in (False, True))
    difference = (tiled - whole).abs()
    assert 0 < difference.mean() < 0.1 * whole.std()
    assert difference.max() < 2 * whole.std()
    assert not vae.use_tiling


@torch.inference_mode()
def test_a_decoder_with_fused_norms_makes_the_same_image() -> None:
    """On a CPU, where the norms are torch's own: whether each has its SiLU. GPUs: parity/test_parity_cuda.py."""
    vae = AutoencoderKL.from_pretrained(EMBEDDED / "vae").eval()
    latents = smooth_latents(16, 16, 24)
    before = vae.decode(latents).sample
    fuse_decoder(vae)
    assert sum(isinstance(module, GroupNormSiLU) for module in vae.decoder.modules()) > 10
    assert (vae.decode(latents).sample - before).abs().max() < 1e-4


@torch.inference_mode()
@pytest.mark.parametrize("make", [make_vae, make_video_vae])
def test_tiles_take_less_memory(make: type[AutoencoderKL]) -> None:
    vae = make()
    latents = smooth_latents(4, 24, 20)
    peaks = []
    for tiled in (False, True):
        with PeakBytes() as counted:
            image = decode_image(vae, latents, tiled=tiled)
        assert image.shape == (192, 160, 3)
        peaks.append(counted.peak)
    assert peaks[1] < 0.6 * peaks[0]
