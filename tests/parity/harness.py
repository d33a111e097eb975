"""Drives a real executor from a test. Imports no torch."""

import itertools
import queue
from collections.abc import Sequence
from pathlib import Path

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.events import ChunkDone, ChunkFailed, Event
from tetriserve.core.image import Image
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine.config import EngineConfig
from tetriserve.engine.executor import ProcessExecutor

Work = tuple[Chunk, tuple[Request, ...]]
Block = tuple[int, ...]

EVENT_TIMEOUT_S = 30.0


class Engine:
    """An executor with its events in a queue."""

    def __init__(self, model_dir: Path, devices: str, dtype: str = "auto", sizes: Sequence[str] = ()) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.model_dir = model_dir
        self.executor = ProcessExecutor(
            EngineConfig(model_dir, devices, dtype, tuple(Size.parse(size) for size in sizes)), self.events.put
        )
        self._chunk_ids = itertools.count()
        self._request_ids = itertools.count()

    def request(
        self, size: str = "64x64", steps: int = 4, guidance: float = 3.5, seed: int = 7, prompt: str = "a red cat"
    ) -> Request:
        name = f"r{next(self._request_ids)}"
        return Request(name, prompt, Size.parse(size), steps, guidance, seed, 0.0, 0.0)

    def encode(self, request: Request, device: int = 0) -> Work:
        return Chunk(next(self._chunk_ids), Stage.ENCODE, (request.request_id,), (device,)), (request,)

    def denoise(self, request: Request, block: Block, first: float, num: float = 1) -> Work:
        return self.denoise_batch([request], block, first, num)

    def denoise_batch(self, requests: Sequence[Request], block: Block, first: float, num: float = 1) -> Work:
        ids = tuple(request.request_id for request in requests)
        firsts = (first,) * len(ids)
        return Chunk(next(self._chunk_ids), Stage.DENOISE, ids, block, firsts, num), tuple(requests)

    def decode(self, request: Request, device: int = 0) -> Work:
        return Chunk(next(self._chunk_ids), Stage.DECODE, (request.request_id,), (device,)), (request,)

    def plan(self, request: Request, blocks: Sequence[Block], encode_on: int = 0, decode_on: int = 0) -> list[Work]:
        """All chunks of a request, of which step i runs on `blocks[i]`; the last block takes the remaining steps."""
        chunks, step = [self.encode(request, encode_on)], 0
        blocks = [*blocks, *[blocks[-1]] * (request.num_inference_steps - len(blocks))]
        for block, same in itertools.groupby(blocks):
            num = len(list(same))
            chunks.append(self.denoise(request, block, step, num))
            step += num
        return [*chunks, self.decode(request, decode_on)]

    def run(self, works: Sequence[Work]) -> list[ChunkDone | ChunkFailed]:
        """Submit together, wait for all, and return the events in the order of `works`."""
        self.executor.submit(works)
        events = {event.chunk_id: event for event in self.take_events(len(works))}
        return [events[chunk.chunk_id] for chunk, _ in works]

    def take_events(self, count: int) -> list[ChunkDone | ChunkFailed]:
        events = [self.events.get(timeout=EVENT_TIMEOUT_S) for _ in range(count)]
        assert all(isinstance(event, ChunkDone | ChunkFailed) for event in events), events
        return events

    def image(self, request: Request, blocks: Sequence[Block], encode_on: int = 0, decode_on: int = 0) -> Image:
        """Make one image."""
        events = self.run(self.plan(request, blocks, encode_on, decode_on))
        assert all(isinstance(event, ChunkDone) for event in events), events
        return self.take(request)

    def take(self, request: Request) -> Image:
        image = self.executor.take_image(request.request_id)
        self.executor.release(request.request_id)
        return image
