"""The same on GPUs, through NCCL. Needs two of them; run it by hand where they are."""

import itertools

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import Block, Engine
from parity.reference import Reference, assert_same, pixels
from tetriserve.engine.devices import count_gpus

pytestmark = pytest.mark.skipif(count_gpus() < 2, reason="needs two GPUs")

SCHEDULES: list[list[Block]] = [[(0,)], [(0, 1)], [(1,), (0, 1), (0,), (0, 1)]]


@pytest.mark.parametrize("kind", ["true_cfg", "embedded"])
@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "graphs"])
def test_two_gpus_at_any_degree(kind: str, graphs: bool, checkpoint: GetCheckpoint) -> None:
    """In fp32, and against diffusers on one of the GPUs: passes on two GPUs, and tokens on two GPUs."""
    model_dir, sizes = checkpoint(kind), ("64x64", "208x144")
    reference = Reference("cuda")
    engine = Engine(model_dir, "cuda:2", "float32", sizes if graphs else ())
    with engine.executor:
        for size, blocks in itertools.product(sizes, SCHEDULES):
            request = engine.request(size)
            assert_same(engine.image(request, blocks, encode_on=1), reference.image(model_dir, request))


@pytest.mark.parametrize("block", [(0,), (0, 1)])
def test_a_batch_from_a_graph_is_what_its_members_are_alone(block: Block, checkpoint: GetCheckpoint) -> None:
    model_dir, reference = checkpoint("embedded"), Reference("cuda")
    engine = Engine(model_dir, "cuda:2", "float32", ("64x64",))
    with engine.executor:
        pair = [engine.request(seed=seed, prompt=prompt) for seed, prompt in ((1, "a red cat"), (2, "the blue sea"))]
        works = [engine.encode(request) for request in pair]
        works.append(engine.denoise_batch(pair, block, 0, 4))
        engine.run([*works, *(engine.decode(request) for request in pair)])
        for request in pair:
            assert_same(engine.take(request), reference.image(model_dir, request))


def test_bfloat16_depends_a_little_on_the_degree(checkpoint: GetCheckpoint) -> None:
    engine = Engine(checkpoint("embedded"), "cuda:2")
    with engine.executor:
        assert engine.executor.machine.dtype == "bfloat16"
        one, two = (pixels(engine.image(engine.request("208x144"), [block])) for block in ((0,), (0, 1)))
    assert abs(one.astype(int) - two.astype(int)).mean() < 2.0
