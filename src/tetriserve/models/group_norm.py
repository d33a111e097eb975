"""Group normalisation as VAEs on GPUs want it: with the SiLU that follows it, and channels last, as convolutions do.

In torch most of the time of a decode is spent here: its kernels read channels-last tensors slowly, and others make the
convolutions copy theirs. Knows one kind of network: the decoder of diffusers' AutoencoderKL.
"""

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

try:
    from tetriserve.models import group_norm_kernel
except ImportError:  # no Triton: there is no GPU either
    group_norm_kernel = None  # type: ignore[assignment]


def group_norm_silu(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """silu(norm(x)) of (B, C, H, W); on GPUs channels last, in fp32 inside."""
    if group_norm_kernel is not None and x.is_cuda:
        return group_norm_kernel.group_norm_silu(x, norm.weight, norm.bias, norm.num_groups, norm.eps)
    return F.silu(norm(x))


class GroupNormSiLU(nn.Module):
    """Takes the place of a GroupNorm whose SiLU has been taken away."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W)."""
        return group_norm_silu(x, self.norm)


def fuse_decoder(vae: Any) -> None:
    """Let a VAE decode with fused norms, channels last; the image is the same but for rounding."""
    decoder = vae.decoder.to(memory_format=torch.channels_last)
    for block in decoder.modules():
        if isinstance(block, ResnetBlock2D) and isinstance(block.nonlinearity, nn.SiLU) and block.time_emb_proj is None:
            block.norm1, block.norm2 = GroupNormSiLU(block.norm1), GroupNormSiLU(block.norm2)
            block.nonlinearity = nn.Identity()
    decoder.conv_norm_out, decoder.conv_act = GroupNormSiLU(decoder.conv_norm_out), nn.Identity()
