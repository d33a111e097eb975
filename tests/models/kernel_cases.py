"""Compares every kernel with its plain version on small, odd shapes. Run on its own: python kernel_cases.py"""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")

import torch
from torch import Tensor, nn

from tetriserve.models import fused, group_norm, group_norm_kernel, head_kernels, kernels
from tetriserve.models.fused import Modulation, QKNorms, Rotary, Streams
from tetriserve.models.ulysses import split_sizes

TOKENS, BATCH, NUM_TEXT, HEADS, WIDTH = 9, 2, 4, 3, 16
GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR)


def close(ours: Tensor, theirs: Tensor) -> None:
    assert (ours - theirs).abs().max() < 1e-5


def norms_and_angles() -> tuple[QKNorms, Rotary]:
    return QKNorms(*random(4, WIDTH).unbind(0), eps=1e-6), Rotary(
        random(TOKENS, WIDTH // 2), random(TOKENS, WIDTH // 2)
    )


def residual_norm_modulate() -> None:
    where = Modulation(shift=Streams(0, 1), scale=Streams(2, 3), gate=Streams(4, 5))
    x, branch, table = random(TOKENS, BATCH, 48), random(TOKENS, BATCH, 48), random(BATCH, 7, 48)
    for added in (branch, None):
        ours, theirs = x.clone(), x.clone()
        y = kernels.residual_norm_modulate(ours, added, table, where, NUM_TEXT, 1e-6)
        close(y, fused.residual_norm_modulate(theirs, added, table, where, NUM_TEXT, 1e-6))
        close(ours, theirs)


def norm_and_rotate() -> None:
    qkv, (norms, rotary) = random(TOKENS, BATCH, 3, HEADS, WIDTH), norms_and_angles()
    for arguments in ((norms, rotary), (norms, None), (None, rotary), (None, None)):
        ours, theirs = qkv.clone(), qkv.clone()
        head_kernels.norm_and_rotate(ours, *arguments, NUM_TEXT)
        fused.norm_and_rotate(theirs, *arguments, NUM_TEXT)
        close(ours, theirs)


def quantize() -> None:
    """The interpreter loses the carry where rounding reaches the next power of two: one value in a hundred."""
    x = 5 * random(TOKENS, BATCH, 48)
    for gelu in (False, True):
        values, scales = kernels.quantize(x, fused.LARGEST_8_BIT, fused.SMALLEST_SCALE, gelu=gelu)
        expected = fused.quantize(x, gelu=gelu)
        close(scales, expected.scales)
        ours, theirs = values.float() * scales, expected.values.float() * expected.scales
        assert (ours == theirs).float().mean() > 0.95


def push_heads(degree: int) -> None:
    """One rank's tokens arrive at their place in every rank's buffer."""
    qkv, (norms, rotary), offset = random(TOKENS, BATCH, 3, HEADS, WIDTH), norms_and_angles(), 5
    own_heads = split_sizes(HEADS, degree)
    buffers = [torch.zeros(offset + TOKENS, BATCH, 3, heads, WIDTH) for heads in own_heads]
    peers = torch.tensor([buffer.data_ptr() for buffer in buffers])
    head_kernels.push_heads(qkv, norms, rotary, NUM_TEXT, peers, offset, degree)
    fused.norm_and_rotate(qkv, norms, rotary, NUM_TEXT)
    for buffer, expected in zip(buffers, qkv.split(own_heads, dim=3), strict=True):
        close(buffer[offset:], expected)
        assert not buffer[:offset].any()


def push_tokens() -> None:
    """The outputs of one rank's heads arrive at the ranks that hold the tokens."""
    lengths, first_head, own_heads = (5, 3, 1), 1, 2
    out = random(TOKENS, BATCH, own_heads, WIDTH)
    buffers = [torch.zeros(length, BATCH, HEADS, WIDTH) for length in lengths]
    peers = torch.tensor([buffer.data_ptr() for buffer in buffers])
    offsets = torch.tensor((0, 5, 8, 9), dtype=torch.int32)
    head_kernels.push_tokens(out, peers, offsets, HEADS, first_head, len(lengths))
    for buffer, expected in zip(buffers, out.split(lengths), strict=True):
        close(buffer[:, :, first_head : first_head + own_heads], expected)
        assert not buffer[:, :, :first_head].any()


def group_norm_silu() -> None:
    """Images of few pixels and of many, whose last blocks and parts are not full."""
    group_norm_kernel.VALUES_A_BLOCK, group_norm_kernel.LARGEST_NUM_PARTS = 1024, 4
    for batch, channels, height, width in ((1, 64, 1, 7), (2, 512, 1, 5), (1, 96, 9, 11)):
        norm = nn.GroupNorm(32, channels, eps=1e-6)
        nn.init.normal_(norm.weight, generator=GENERATOR)
        nn.init.normal_(norm.bias, generator=GENERATOR)
        x = 3 * random(batch, channels, height, width) + 1
        with torch.no_grad():
            ours = group_norm_kernel.group_norm_silu(x, norm.weight, norm.bias, 32, norm.eps)
            close(ours, group_norm.group_norm_silu(x, norm))
        assert ours.is_contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    residual_norm_modulate()
    norm_and_rotate()
    quantize()
    push_heads(1)
    push_heads(2)
    push_tokens()
    group_norm_silu()
