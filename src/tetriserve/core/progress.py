"""How far every request is, as its chunks end: which chunk it may go on with after one was lost."""

from collections.abc import Sequence

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.request import Request


class Progress:
    """Kept by executors; both kinds refuse the same chunks."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}
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

    def lose(self, chunk: Chunk) -> None:
        """A chunk was lost."""
        self._lost.update(chunk.request_ids)

    def is_lost(self, request_id: str) -> bool:
        """Whether a chunk of it was lost, and it has not gone on since."""
        return request_id in self._lost

    def steps(self, request_id: str) -> int | None:
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
