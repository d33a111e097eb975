"""How far every request is, as its chunks end: which chunk it may go on with after one was lost."""

import math
from collections.abc import Collection, Sequence

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.request import Request
from tetriserve.core.steps import is_whole


class Progress:
    """Kept by executors; both kinds refuse the same chunks."""

    def __init__(self) -> None:
        self._steps: dict[str, float] = {}
        self._lost: set[str] = set()

    def accept(self, chunk: Chunk, requests: Sequence[Request]) -> bool:
        """Whether a chunk goes on where its requests are; if not, it was planned before a loss was known."""
        if not all(self._fits(chunk, index, request) for index, request in enumerate(requests)):
            return False
        self._lost.difference_update(chunk.request_ids)
        return True

    def done(self, chunk: Chunk) -> None:
        """A chunk was done."""
        for request_id in chunk.request_ids:
            if chunk.stage is Stage.ENCODE:
                self._steps[request_id] = 0
        for request_id, first in zip(chunk.request_ids, chunk.first_steps, strict=False):
            self._steps[request_id] = first + chunk.num_steps

    def lose(self, request_ids: Collection[str]) -> None:
        """A chunk was lost, or what a device had of a step: these go on where their last whole step has left them."""
        self._lost.update(request_ids)
        for request_id in self._steps.keys() & set(request_ids):
            self._steps[request_id] = math.floor(self._steps[request_id])

    def within_step(self) -> set[str]:
        """Requests with a step that was begun and not ended."""
        return {request_id for request_id, steps in self._steps.items() if not is_whole(steps)}

    def is_lost(self, request_id: str) -> bool:
        """Whether a chunk of it was lost, and it has not gone on since."""
        return request_id in self._lost

    def steps(self, request_id: str) -> float | None:
        """Steps done; None if it has not been encoded."""
        return self._steps.get(request_id)

    def forget(self, request_id: str) -> None:
        """A request has ended."""
        self._steps.pop(request_id, None)
        self._lost.discard(request_id)

    def _fits(self, chunk: Chunk, index: int, request: Request) -> bool:
        if request.request_id not in self._lost:
            return True
        steps = self._steps.get(request.request_id)
        match chunk.stage:
            case Stage.ENCODE:
                return True
            case Stage.DENOISE:
                return steps == chunk.first_steps[index]
            case Stage.DECODE:
                return steps == request.num_inference_steps
