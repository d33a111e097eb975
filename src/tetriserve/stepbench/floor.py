"""The floor of a FLUX step: its arithmetic over what the GPU can do, and its weights over what memory can deliver."""

from dataclasses import dataclass
from typing import Any

import torch

from tetriserve.models.gpu_clock import milliseconds
from tetriserve.stepbench.cells import StepCell

MATMUL_SIZE = 8192
COPY_BYTES = 2**31
WEIGHTS_A_TOKEN = 12
"""Weights that a token meets in a block, in units of width squared: q, k, v, out, and twice four for the MLP."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What one GPU reaches, measured: bf16 matrix products, and bytes read plus bytes written by a copy."""

    flops: float
    bytes_per_s: float


def measure_ceilings(device: torch.device) -> Ceilings:
    """On random data: zeros would run faster."""
    a = torch.randn(MATMUL_SIZE, MATMUL_SIZE, device=device, dtype=torch.bfloat16)
    matmul_s = milliseconds(lambda: a @ a, repetitions=20) / 1e3
    source = torch.randn(COPY_BYTES // 2, device=device, dtype=torch.bfloat16)
    target = torch.empty_like(source)
    copy_s = milliseconds(lambda: target.copy_(source), repetitions=20) / 1e3
    return Ceilings(2 * MATMUL_SIZE**3 / matmul_s, 2 * COPY_BYTES / copy_s)


def floor_ms(cell: StepCell, config: Any, num_text: int, ceilings: Ceilings) -> float:
    """Milliseconds on `cell.degree` GPUs at the ceilings, if exchanging cost nothing. `config`: the transformer's."""
    width: int = config.num_attention_heads * config.attention_head_dim
    doubles, singles = int(config.num_layers), int(config.num_single_layers)
    tokens = cell.size.num_tokens + num_text
    products = 2 * WEIGHTS_A_TOKEN * width**2 * tokens * (doubles + singles)
    attention = 4 * tokens**2 * width * (doubles + singles)
    arithmetic_s = cell.batch * (products + attention) / cell.degree / ceilings.flops
    weight_bytes = 2 * WEIGHTS_A_TOKEN * width**2 * (2 * doubles + singles)
    return 1e3 * max(arithmetic_s, weight_bytes / ceilings.bytes_per_s)
