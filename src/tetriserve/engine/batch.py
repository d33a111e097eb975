"""What makes a batch of chunks fit to be run. Pure."""

from collections.abc import Sequence

from tetriserve.core.blocks import is_block
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError
from tetriserve.core.request import Request
from tetriserve.engine.placement import Placement, Work


def check_work(chunk: Chunk, requests: tuple[Request, ...], num_devices: int) -> None:
    """Refuse in the parent what would go wrong on the devices. Raises EngineError."""
    if chunk.request_ids != tuple(request.request_id for request in requests) or not requests:
        raise EngineError(f"chunk {chunk.chunk_id}: its requests are not {chunk.request_ids}")
    if not is_block(chunk.devices) or chunk.devices[-1] >= num_devices:
        raise EngineError(f"chunk {chunk.chunk_id}: {chunk.devices} is no block of {num_devices} devices")
    if chunk.stage is Stage.DENOISE:
        _check_steps(chunk, requests)
    elif chunk.degree != 1 or len(requests) != 1:
        raise EngineError(f"chunk {chunk.chunk_id}: {chunk.stage} takes one request and one device")


def newest(backlog: Sequence[Work]) -> list[Work]:
    """What of a backlog is still wanted. Whoever starts a request again, at ENCODE, doesn't want its earlier chunks."""
    wanted: list[Work] = []
    for chunk, requests in backlog:
        if chunk.stage is Stage.ENCODE:
            wanted = [work for work in wanted if chunk.request_ids[0] not in work[0].request_ids]
        wanted.append((chunk, requests))
    return wanted


def without_void(batch: Sequence[Work], placement: Placement) -> list[Work]:
    """A batch without the chunks that were planned before a loss of workers was known: their tensors are gone."""
    encoded: set[str] = set()
    runnable = []
    for chunk, requests in batch:
        if chunk.stage is Stage.ENCODE:
            encoded.update(chunk.request_ids)
        if placement.knows(set(chunk.request_ids) - encoded):
            runnable.append((chunk, requests))
    return runnable


def _check_steps(chunk: Chunk, requests: tuple[Request, ...]) -> None:
    if len(chunk.first_steps) != len(requests) or chunk.num_steps < 1:
        raise EngineError(f"chunk {chunk.chunk_id}: {chunk.num_steps} steps from {chunk.first_steps}")
    if len({request.size for request in requests}) > 1:
        raise EngineError(f"chunk {chunk.chunk_id}: a batch of more than one size")
    for request, first in zip(requests, chunk.first_steps, strict=True):
        if first < 0 or first + chunk.num_steps > request.num_inference_steps:
            raise EngineError(
                f"chunk {chunk.chunk_id}: steps {first} to {first + chunk.num_steps - 1} of a request that has "
                f"{request.num_inference_steps}"
            )
