"""Random legal schedules on four workers: everything ends, and every image is the one that diffusers makes."""

import random
import time
from dataclasses import dataclass, field

import pytest

from parity.fixtures import GetEngine
from parity.harness import Engine, Work
from parity.reference import Reference, assert_same
from tetriserve.core.blocks import all_blocks
from tetriserve.core.chunk import Stage
from tetriserve.core.events import ChunkFailed
from tetriserve.core.request import Request

BLOCKS = all_blocks(4)
NUM_REQUESTS = 60
NUM_CONCURRENT = 8
MAX_QUEUED = 24
BUDGET_S = 12.0


@dataclass
class Play:
    """One random run: hands out the next chunks of random requests, deep into the queues of the workers.

    Some are said to take long, so that latents that were kept are taken instead of waiting for a busy worker's.
    """

    engine: Engine
    rng: random.Random
    todo: dict[str, list[Work]] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    in_flight: dict[int, Work] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    num_started: int = 0

    def start_request(self) -> None:
        poison = self.rng.random() < 0.1
        request = self.engine.request(
            size=self.rng.choice(["16x16", "32x48", "64x32"]),
            steps=self.rng.randint(2, 4),
            guidance=1e38 if poison else self.rng.choice([1.0, 3.5]),
            seed=self.rng.randint(0, 1),
        )
        blocks = [self.rng.choice(BLOCKS) for _ in range(request.num_inference_steps)]
        plan = self.engine.plan(request, blocks, self.rng.randrange(4), self.rng.randrange(4))
        self.requests[request.request_id], self.todo[request.request_id] = request, plan
        self.num_started += 1

    def submit_batch(self) -> None:
        batch: list[Work] = []
        for _ in range(self.rng.randint(1, 6)):
            waiting = [works for works in self.todo.values() if works]
            if waiting:
                chunk, requests = self.rng.choice(waiting).pop(0)
                batch.append((chunk._replace(expected_s=self.rng.choice([0.0, 9.0])), requests))
        self.in_flight |= {work[0].chunk_id: work for work in batch}
        self.engine.executor.submit(batch)

    def take_event(self) -> Request | None:
        """The request that has its image, if the next event says so."""
        (event,) = self.engine.take_events(1)
        chunk, (request,) = self.in_flight.pop(event.chunk_id)
        if isinstance(event, ChunkFailed):
            assert request.guidance_scale == 1e38
            if request.request_id not in self.failed:  # released with chunks still queued
                self.failed.add(request.request_id)
                self.todo.pop(request.request_id)
                self.engine.executor.release(request.request_id)
            return None
        assert request.request_id not in self.failed
        return request if chunk.stage is Stage.DECODE else None


@pytest.mark.parametrize("seed", [1, 2])
def test_random_schedules_end_with_the_right_images(seed: int, engine: GetEngine, reference: Reference) -> None:
    engine_4 = engine("true_cfg", 4)
    play = Play(engine_4, random.Random(seed))
    deadline_s, num_images = time.monotonic() + BUDGET_S, 0
    while play.in_flight or any(play.todo.values()) or play.num_started < NUM_REQUESTS:
        unfinished = sum(map(bool, play.todo.values()))
        if play.num_started < NUM_REQUESTS and unfinished < NUM_CONCURRENT:
            if time.monotonic() > deadline_s and num_images > 10:  # a slow machine plays fewer requests
                play.num_started = NUM_REQUESTS
                continue
            play.start_request()
        if any(play.todo.values()) and (not play.in_flight or len(play.in_flight) < play.rng.randint(1, MAX_QUEUED)):
            play.submit_batch()
        elif play.in_flight:
            request = play.take_event()
            if request is not None:
                assert_same(engine_4.take(request), reference.image(engine_4.model_dir, request))
                num_images += 1
    assert num_images > 10
    assert engine_4.events.empty()
