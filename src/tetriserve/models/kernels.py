"""Triton kernels behind `fused`, of which one program handles one token row. Those on heads: `head_kernels`.

Rows are (token, batch) in that order; arithmetic is fp32. The width of the network is a compile-time constant, so a
model compiles each kernel once, whatever the size of image.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


def residual_norm_modulate(
    x: Tensor, branch: Tensor | None, table: Tensor, where: Any, num_text: int, eps: float
) -> Tensor:
    """See `fused.residual_norm_modulate`."""
    num_tokens, batch, width = x.shape
    y = torch.empty_like(x)
    gate = where.gate or where.shift
    assert x.is_contiguous() and table.stride(-1) == 1 and (branch is None or branch.is_contiguous())
    _residual_norm_modulate[(num_tokens * batch,)](
        x,
        x if branch is None else branch,
        y,
        table,
        table.stride(0),
        *(index * width for index in (*gate, *where.shift, *where.scale)),
        num_text * batch,
        batch,
        eps,
        has_branch=branch is not None,
        width=width,
        block=triton.next_power_of_2(width),
        num_warps=8 if width > 2048 else 4,
    )
    return y


@triton.jit
def _residual_norm_modulate(
    x_ptr,
    branch_ptr,
    y_ptr,
    table_ptr,
    table_stride,
    gate_text,
    gate_image,
    shift_text,
    shift_image,
    scale_text,
    scale_image,
    first_image_row,
    batch,
    eps,
    has_branch: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    is_text = row < first_image_row
    columns = tl.arange(0, block)
    inside = columns < width
    place = row * width + columns
    modulation = table_ptr + (row % batch) * table_stride + columns
    x = tl.load(x_ptr + place, inside, other=0.0).to(tl.float32)
    if has_branch:
        branch = tl.load(branch_ptr + place, inside, other=0.0).to(tl.float32)
        gate = tl.load(modulation + tl.where(is_text, gate_text, gate_image), inside, other=0.0).to(tl.float32)
        x += gate * branch
        tl.store(x_ptr + place, x.to(x_ptr.dtype.element_ty), inside)
    mean = tl.sum(x, 0) / width
    centred = tl.where(inside, x - mean, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / width + eps)
    shift = tl.load(modulation + tl.where(is_text, shift_text, shift_image), inside, other=0.0).to(tl.float32)
    scale = tl.load(modulation + tl.where(is_text, scale_text, scale_image), inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + place, (normed * (1.0 + scale) + shift).to(y_ptr.dtype.element_ty), inside)


def quantize(x: Tensor, largest: float, smallest_scale: float, *, gelu: bool) -> tuple[Tensor, Tensor]:
    """See `fused.quantize`."""
    width = x.shape[-1]
    assert x.is_contiguous()
    values = torch.empty_like(x, dtype=torch.float8_e4m3fn)
    scales = torch.empty(*x.shape[:-1], 1, dtype=torch.float32, device=x.device)
    _quantize[(x.numel() // width,)](
        x,
        values,
        scales,
        largest,
        smallest_scale,
        gelu=gelu,
        width=width,
        block=triton.next_power_of_2(width),
        num_warps=8,
    )
    return values, scales


@triton.jit
def _quantize(
    x_ptr,
    values_ptr,
    scales_ptr,
    largest,
    smallest_scale,
    gelu: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, block)
    inside = columns < width
    x = tl.load(x_ptr + row * width + columns, inside, other=0.0).to(tl.float32)
    if gelu:
        # tanh(u) = 1 - 2 / (exp(2u) + 1)
        u = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        x = x * (1.0 - 1.0 / (tl.exp(2.0 * u) + 1.0))
    scale = tl.maximum(tl.max(tl.abs(x), 0) / largest, smallest_scale)
    tl.store(values_ptr + row * width + columns, (x / scale).to(values_ptr.dtype.element_ty), inside)
    tl.store(scales_ptr + row, scale)
