"""Whole steps as CUDA graphs: one launch instead of hundreds. One memory pool for all; replays never overlap."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from tetriserve.models.program import StepInputs, StepProgram

WARM_UP_RUNS = 2
"""Libraries set themselves up and kernels are compiled in the first; a graph must not hold that."""

Recorded = TypeVar("Recorded")


@dataclass(frozen=True, slots=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: StepInputs
    latents: Tensor

    def replay(self, inputs: StepInputs) -> Tensor:
        """The next latents. Only what differs from what the graph's own inputs hold is copied."""
        for ours, given in zip(self.inputs, inputs, strict=True):
            if ours is not None and given is not None and ours is not given:
                ours.copy_(given)
        self.graph.replay()
        return self.latents.clone()


class StepGraphs:
    """The graphs of one device. Those of a group are captured and replayed by all its ranks together."""

    def __init__(self) -> None:
        self._captured: dict[Hashable, _Captured] = {}
        self._pool: Any = None

    def find(self, key: Hashable) -> Callable[[StepInputs], Tensor] | None:
        """The step captured under `key`, or None."""
        captured = self._captured.get(key)
        return None if captured is None else captured.replay

    def drop(self, is_gone: Callable[[Hashable], bool]) -> None:
        """Forget the graphs of such keys."""
        self._captured = {key: captured for key, captured in self._captured.items() if not is_gone(key)}

    def capture(self, key: Hashable, program: StepProgram, like: StepInputs) -> None:
        """Record a step for inputs that look `like` these."""
        inputs = like.copied()
        graph, latents = record(lambda: program.step(inputs), self._pool)
        self._pool = self._pool or graph.pool()
        self._captured[key] = _Captured(graph, inputs, latents)


def record(run: Callable[[], Recorded], pool: Any = None) -> tuple[torch.cuda.CUDAGraph, Recorded]:
    """What `run` does on the device, and what it returned, which every replay overwrites."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_RUNS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Other threads (the watchdog of the process groups) may call CUDA meanwhile.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = run()
    return graph, result
