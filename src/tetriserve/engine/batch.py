"""What makes a chunk fit to be run. Pure."""

from tetriserve.core.blocks import is_block
from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import EngineError
from tetriserve.core.request import Request
from tetriserve.core.steps import is_cut_point, is_whole


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


def _check_steps(chunk: Chunk, requests: tuple[Request, ...]) -> None:
    if len(chunk.first_steps) != len(requests) or not chunk.num_steps > 0:
        raise EngineError(f"chunk {chunk.chunk_id}: {chunk.num_steps} steps from {chunk.first_steps}")
    counts = (*chunk.first_steps, chunk.num_steps)
    if not all(map(is_cut_point if len(requests) == 1 else is_whole, counts)):
        raise EngineError(f"chunk {chunk.chunk_id}: {chunk.num_steps} steps from {chunk.first_steps} can't be cut so")
    if len({request.size for request in requests}) > 1:
        raise EngineError(f"chunk {chunk.chunk_id}: a batch of more than one size")
    for request, first in zip(requests, chunk.first_steps, strict=True):
        if first < 0 or first + chunk.num_steps > request.num_inference_steps:
            raise EngineError(
                f"chunk {chunk.chunk_id}: {chunk.num_steps} steps from {first} of a request that has "
                f"{request.num_inference_steps}"
            )
