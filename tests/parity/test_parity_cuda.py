"""The same on GPUs, through NCCL. Needs two of them; run it by hand where they are."""

import itertools

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import Block, Engine
from parity.reference import Reference, assert_same, pixels
from tetriserve.core.events import ChunkDone
from tetriserve.engine.devices import count_gpus

pytestmark = pytest.mark.skipif(count_gpus() < 2, reason="needs two GPUs")

SCHEDULES: list[list[Block]] = [[(0,)], [(0, 1)], [(1,), (0, 1), (0,), (0, 1)]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["true_cfg", "embedded", "qwen-image"])
def test_two_gpus_at_any_degree(kind: str, checkpoint: GetCheckpoint) -> None:
    """In fp32, against diffusers on one of the GPUs: passes on two GPUs, tokens on two GPUs; graphs and eager steps."""
    model_dir, reference = checkpoint(kind), Reference("cuda")
    engine = Engine(model_dir, "cuda:2", "float32", sizes=["64x64"])
    with engine.executor:
        for size, blocks in itertools.product(("64x64", "208x144"), SCHEDULES):
            request = engine.request(size)
            assert_same(engine.image(request, blocks, encode_on=1), reference.image(model_dir, request))
        for block in SCHEDULES[:2]:
            _check_batch(engine, block[0], reference)


def _check_batch(engine: Engine, block: Block, reference: Reference) -> None:
    """Two requests in one batch are what they are alone."""
    pair = [engine.request(seed=seed, prompt=prompt) for seed, prompt in ((1, "a red cat"), (2, "the blue sea"))]
    works = [engine.encode(request) for request in pair]
    works.append(engine.denoise_batch(pair, block, 0, 4))
    events = engine.run([*works, *(engine.decode(request) for request in pair)])
    assert all(isinstance(event, ChunkDone) for event in events), events
    for request in pair:
        assert_same(engine.take(request), reference.image(engine.model_dir, request))


def test_bfloat16_depends_a_little_on_the_degree(checkpoint: GetCheckpoint) -> None:
    engine = Engine(checkpoint("embedded"), "cuda:2")
    with engine.executor:
        assert engine.executor.machine.dtype == "bfloat16"
        one, two = (pixels(engine.image(engine.request("208x144"), [block])) for block in ((0,), (0, 1)))
    assert abs(one.astype(int) - two.astype(int)).mean() < 2.0
