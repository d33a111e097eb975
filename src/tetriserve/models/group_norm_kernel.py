"""Triton kernels behind `group_norm`: sums of every channel, then one pass that normalises. Arithmetic is fp32.

An image is (pixels, channels) in memory; `block` is the power of two above its channels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

VALUES_A_BLOCK = 8192
LARGEST_NUM_PARTS = 512
"""Programs that sum up an image: enough to fill a GPU, and few enough to add up what they found in no time."""


def group_norm_silu(x: Tensor, weight: Tensor, bias: Tensor, num_groups: int, eps: float) -> Tensor:
    """See `group_norm.group_norm_silu`."""
    batch, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x)
    pixels, block = height * width, triton.next_power_of_2(channels)
    rows = max(1, VALUES_A_BLOCK // block)
    num_blocks = triton.cdiv(pixels, rows)
    blocks_a_part = triton.cdiv(num_blocks, LARGEST_NUM_PARTS)
    num_parts = triton.cdiv(num_blocks, blocks_a_part)
    parts = torch.empty(batch, num_parts, 2, channels, dtype=torch.float32, device=x.device)
    _sum_channels[(num_parts, batch)](x, parts, pixels, blocks_a_part, channels, block, rows, num_warps=8)
    means = parts.sum(1).view(batch, 2, num_groups, -1).sum(-1) / (pixels * channels // num_groups)
    _normalise[(num_blocks, batch)](
        x, y, means, weight, bias, pixels, eps, channels, num_groups, block, rows, num_warps=8
    )
    return y


@triton.jit
def _sum_channels(
    x_ptr,
    parts_ptr,
    pixels,
    blocks_a_part,
    channels: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
):
    """Sum and sum of squares of each channel over the pixels of one part."""
    part, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    columns = tl.arange(0, block)
    total = tl.zeros((rows, block), tl.float32)
    squares = tl.zeros((rows, block), tl.float32)
    index = part * blocks_a_part
    end = index + blocks_a_part
    while index < end:  # a range of tensors fails in the interpreter of Triton 3.6 with NumPy 2.4
        row = index * rows + tl.arange(0, rows)
        inside = (row < pixels)[:, None] & (columns < channels)[None, :]
        place = (image * pixels + row)[:, None] * channels + columns[None, :]
        x = tl.load(x_ptr + place, inside, other=0.0).to(tl.float32)
        total += x
        squares += x * x
        index += 1
    out = parts_ptr + (image * tl.num_programs(0) + part) * 2 * channels + columns
    tl.store(out, tl.sum(total, 0), columns < channels)
    tl.store(out + channels, tl.sum(squares, 0), columns < channels)


@triton.jit
def _normalise(
    x_ptr,
    y_ptr,
    means_ptr,
    weight_ptr,
    bias_ptr,
    pixels,
    eps,
    channels: tl.constexpr,
    groups: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
):
    """`means` (B, 2, G): of the values and of their squares."""
    image = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    columns = tl.arange(0, block)
    exists = columns < channels
    group = means_ptr + image * 2 * groups + columns // (channels // groups)
    mean = tl.load(group, exists, other=0.0)
    variance = tl.load(group + groups, exists, other=0.0) - mean * mean
    scale = tl.load(weight_ptr + columns, exists, other=0.0).to(tl.float32) * tl.rsqrt(variance + eps)
    shift = tl.load(bias_ptr + columns, exists, other=0.0).to(tl.float32) - mean * scale
    inside = (row < pixels)[:, None] & exists[None, :]
    place = (image * pixels + row)[:, None] * channels + columns[None, :]
    y = tl.load(x_ptr + place, inside, other=0.0).to(tl.float32) * scale[None, :] + shift[None, :]
    tl.store(y_ptr + place, (y * tl.sigmoid(y)).to(y_ptr.dtype.element_ty), inside)
