"""Text encoders as CUDA graphs: one prompt is little work in many kernels, and launching them took most of the time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tetriserve.models.graphs import record


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    input_ids: Tensor
    output: Any


class GraphedForward:
    """An encoder's forward pass, recorded at the first call with each shape of tokens and each set of options.

    What it returns is overwritten by the next call.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        self._forward = forward
        self._captured: dict[Any, _Captured] = {}

    def __call__(self, input_ids: Tensor, **options: Any) -> Any:
        """`input_ids` (B, t)."""
        key = (input_ids.shape, *sorted(options.items()))
        captured = self._captured.get(key)
        if captured is None:
            own = input_ids.clone()
            graph, output = record(lambda: self._forward(own, **options))
            captured = self._captured[key] = _Captured(graph, own, output)
        captured.input_ids.copy_(input_ids)
        captured.graph.replay()
        return captured.output
