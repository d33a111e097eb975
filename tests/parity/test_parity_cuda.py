"""The same on GPUs; on two of them through NCCL. Run it by hand where they are."""

import itertools

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import Block, Engine
from parity.reference import Reference, assert_same, pixels
from parity.test_interrupted_steps import in_parts
from tetriserve.core.events import ChunkDone
from tetriserve.engine.devices import count_gpus

NUM_GPUS = min(count_gpus(), 2)
pytestmark = pytest.mark.skipif(NUM_GPUS == 0, reason="needs a GPU, or two")

SCHEDULES: list[list[Block]] = [[(0,)], [(0, 1)], [(1,), (0, 1), (0,), (0, 1)]][: 3 if NUM_GPUS == 2 else 1]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["true_cfg", "embedded", "qwen-image"])
def test_gpus_at_any_degree(kind: str, checkpoint: GetCheckpoint) -> None:
    """In fp32, against diffusers on one of the GPUs: passes on two GPUs, tokens on two GPUs; graphs and eager steps."""
    model_dir, reference = checkpoint(kind), Reference("cuda")
    engine = Engine(model_dir, f"cuda:{NUM_GPUS}", "float32", sizes=["64x64"])
    with engine.executor:
        for size, blocks in itertools.product(("64x64", "208x144"), SCHEDULES):
            request = engine.request(size)
            image = engine.image(request, blocks, encode_on=NUM_GPUS - 1)
            assert_same(image, reference.image(model_dir, request))
        for block in SCHEDULES[:2]:
            _check_batch(engine, block[0], reference)
            _check_interrupted(engine, block[0], reference)


def _check_batch(engine: Engine, block: Block, reference: Reference) -> None:
    """Two requests in one batch are what they are alone."""
    pair = [engine.request(seed=seed, prompt=prompt) for seed, prompt in ((1, "a red cat"), (2, "the blue sea"))]
    works = [engine.encode(request) for request in pair]
    works.append(engine.denoise_batch(pair, block, 0, 4))
    events = engine.run([*works, *(engine.decode(request) for request in pair)])
    assert all(isinstance(event, ChunkDone) for event in events), events
    for request in pair:
        assert_same(engine.take(request), reference.image(engine.model_dir, request))


def _check_interrupted(engine: Engine, block: Block, reference: Reference) -> None:
    """Two requests that interrupt each other within steps, which are not graphs then, are what they are alone."""
    pair = [engine.request("64x64", seed=1), engine.request("208x144", seed=2)]
    works = zip(*(in_parts(engine, request, block) for request in pair), strict=True)
    events = engine.run([work for works_of_pair in works for work in works_of_pair])
    assert all(isinstance(event, ChunkDone) for event in events), events
    for request in pair:
        assert_same(engine.take(request), reference.image(engine.model_dir, request))


@pytest.mark.skipif(NUM_GPUS < 2, reason="needs two GPUs")
def test_bfloat16_depends_a_little_on_the_degree(checkpoint: GetCheckpoint) -> None:
    engine = Engine(checkpoint("embedded"), "cuda:2")
    with engine.executor:
        assert engine.executor.machine.dtype == "bfloat16"
        one, two = (pixels(engine.image(engine.request("208x144"), [block])) for block in ((0,), (0, 1)))
    assert abs(one.astype(int) - two.astype(int)).mean() < 2.0
