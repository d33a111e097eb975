"""Triton kernels on queries, keys and values behind `fused` and `symmetric`: one program handles some heads of a row.

Rows are (token, batch) in that order; arithmetic is fp32. Head width and number of heads are compile-time constants, so
a model compiles each kernel once, whatever the size of image.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

HEADS_A_PROGRAM = 8


def norm_and_rotate(qkv: Tensor, norms: Any, rotary: Any, num_text: int) -> None:
    """See `fused.norm_and_rotate`."""
    num_tokens, batch, _, num_heads, width = qkv.shape
    assert qkv.is_contiguous()
    if norms is None and rotary is None:
        return
    _norm_and_rotate[(num_tokens * batch, 2, triton.cdiv(num_heads, HEADS_A_PROGRAM))](
        qkv, *_qk_arguments(qkv, norms, rotary, num_text), **_qk_constants(num_heads, width, norms, rotary), num_warps=2
    )


def push_heads(
    qkv: Tensor, norms: Any, rotary: Any, num_text: int, peers: Tensor, token_offset: int, degree: int
) -> None:
    """Normalise and rotate (n, B, 3, H, W), and write every head to the rank that attends to it.

    `peers` (degree,) int64 holds the address of each rank's (L, B, 3, h, W); `token_offset` is where this rank's tokens
    begin in it.
    """
    num_tokens, batch, _, num_heads, width = qkv.shape
    assert qkv.is_contiguous()
    _push_heads[(num_tokens * batch, 3, triton.cdiv(num_heads, HEADS_A_PROGRAM))](
        qkv,
        *_qk_arguments(qkv, norms, rotary, num_text),
        peers,
        token_offset,
        num_heads // degree,
        num_heads % degree,
        **_qk_constants(num_heads, width, norms, rotary),
        num_warps=2,
    )


def push_tokens(out: Tensor, peers: Tensor, offsets: Tensor, num_heads: int, first_head: int, degree: int) -> None:
    """Write the attention output (L, B, h, W) of this rank's heads to the ranks that hold the tokens.

    `peers` (degree,) int64 holds the address of each rank's (l, B, H, W); rank r's tokens are offsets[r] to
    offsets[r + 1], of int32 (degree + 1,).
    """
    num_tokens, batch, own_heads, width = out.shape
    assert out.is_contiguous()
    _push_tokens[(num_tokens * batch, triton.cdiv(own_heads * width, 1024))](
        out,
        peers,
        offsets,
        batch,
        num_heads * width,
        first_head * width,
        own_width=own_heads * width,
        degree=degree,
        block=min(1024, triton.next_power_of_2(own_heads * width)),
        num_warps=2,
    )


def _qk_arguments(qkv: Tensor, norms: Any, rotary: Any, num_text: int) -> tuple[Any, ...]:
    weights = (qkv,) * 4 if norms is None else (norms.q_text, norms.q_image, norms.k_text, norms.k_image)
    angles = (qkv, qkv) if rotary is None else (rotary.cos, rotary.sin)
    batch = qkv.shape[1]
    return (*weights, *angles, num_text * batch, batch, 0.0 if norms is None else norms.eps)


def _qk_constants(num_heads: int, width: int, norms: Any, rotary: Any) -> dict[str, Any]:
    return {
        "num_heads": num_heads,
        "width": width,
        "heads": HEADS_A_PROGRAM,
        "has_norm": norms is not None,
        "has_rotary": rotary is not None,
    }


@triton.jit
def _load_heads(
    qkv_ptr,
    q_text_ptr,
    q_image_ptr,
    k_text_ptr,
    k_image_ptr,
    cos_ptr,
    sin_ptr,
    first_image_row,
    batch,
    eps,
    row,
    which,
    head,
    num_heads: tl.constexpr,
    width: tl.constexpr,
    heads: tl.constexpr,
    has_norm: tl.constexpr,
    has_rotary: tl.constexpr,
):
    """Some heads of one row of q (which = 0), k (1) or v (2): (heads, width), normalised and rotated unless v."""
    columns = tl.arange(0, width)
    place = ((row * 3 + which) * num_heads + head) * width
    x = tl.load(qkv_ptr + place[:, None] + columns[None, :], (head < num_heads)[:, None], other=0.0).to(tl.float32)
    if which < 2:
        if has_norm:
            if row < first_image_row:
                if which == 0:
                    weight = tl.load(q_text_ptr + columns)
                else:
                    weight = tl.load(k_text_ptr + columns)
            else:
                if which == 0:
                    weight = tl.load(q_image_ptr + columns)
                else:
                    weight = tl.load(k_image_ptr + columns)
            inverse = tl.rsqrt(tl.sum(x * x, 1) / width + eps)
            x = x * inverse[:, None] * weight.to(tl.float32)[None, :]
        if has_rotary:
            half = tl.arange(0, width // 2)
            angle = (row // batch) * (width // 2) + half
            cos = tl.load(cos_ptr + angle)[None, :]
            sin = tl.load(sin_ptr + angle)[None, :]
            even, odd = tl.split(tl.reshape(x, (heads, width // 2, 2)))
            x = tl.reshape(tl.join(even * cos - odd * sin, odd * cos + even * sin), (heads, width))
    return x


@triton.jit
def _norm_and_rotate(
    qkv_ptr,
    q_text_ptr,
    q_image_ptr,
    k_text_ptr,
    k_image_ptr,
    cos_ptr,
    sin_ptr,
    first_image_row,
    batch,
    eps,
    num_heads: tl.constexpr,
    width: tl.constexpr,
    heads: tl.constexpr,
    has_norm: tl.constexpr,
    has_rotary: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    head = tl.program_id(2) * heads + tl.arange(0, heads)
    x = _load_heads(
        qkv_ptr, q_text_ptr, q_image_ptr, k_text_ptr, k_image_ptr, cos_ptr, sin_ptr, first_image_row, batch, eps,
        row, which, head, num_heads, width, heads, has_norm, has_rotary,
    )  # fmt: skip
    place = ((row * 3 + which) * num_heads + head) * width
    target = qkv_ptr + place[:, None] + tl.arange(0, width)[None, :]
    tl.store(target, x.to(qkv_ptr.dtype.element_ty), (head < num_heads)[:, None])


@triton.jit
def _push_heads(
    qkv_ptr,
    q_text_ptr,
    q_image_ptr,
    k_text_ptr,
    k_image_ptr,
    cos_ptr,
    sin_ptr,
    first_image_row,
    batch,
    eps,
    peers_ptr,
    token_offset,
    share,
    rest,
    num_heads: tl.constexpr,
    width: tl.constexpr,
    heads: tl.constexpr,
    has_norm: tl.constexpr,
    has_rotary: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    head = tl.program_id(2) * heads + tl.arange(0, heads)
    inside = head < num_heads
    x = _load_heads(
        qkv_ptr, q_text_ptr, q_image_ptr, k_text_ptr, k_image_ptr, cos_ptr, sin_ptr, first_image_row, batch, eps,
        row, which, head, num_heads, width, heads, has_norm, has_rotary,
    )  # fmt: skip
    # The first `rest` ranks have one head more than the others, see `ulysses.split_sizes`.
    is_larger = head < rest * (share + 1)
    own_heads = tl.where(is_larger, share + 1, share)
    behind = tl.where(is_larger, head, head - rest * (share + 1))
    owner = behind // own_heads + tl.where(is_larger, 0, rest)
    base = tl.load(peers_ptr + owner, inside, other=0).to(tl.pointer_type(qkv_ptr.dtype.element_ty))
    place = ((row + token_offset * batch) * 3 + which) * own_heads + behind % own_heads
    target = (base + place * width)[:, None] + tl.arange(0, width)[None, :]
    tl.store(target, x.to(qkv_ptr.dtype.element_ty), inside[:, None])


@triton.jit
def _push_tokens(
    out_ptr,
    peers_ptr,
    offsets_ptr,
    batch,
    target_width,
    target_column,
    own_width: tl.constexpr,
    degree: tl.constexpr,
    block: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * block + tl.arange(0, block)
    inside = columns < own_width
    owner = 0
    for rank in tl.static_range(1, degree):
        owner += (row >= tl.load(offsets_ptr + rank) * batch).to(tl.int32)
    base = tl.load(peers_ptr + owner).to(tl.pointer_type(out_ptr.dtype.element_ty))
    target_row = row - tl.load(offsets_ptr + owner) * batch
    x = tl.load(out_ptr + row * own_width + columns, inside)
    tl.store(base + target_row * target_width + target_column + columns, x, inside)
