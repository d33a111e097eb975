"""The same on GPUs, through NCCL. Needs two of them; run it by hand where they are."""

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import Block, Engine
from parity.reference import Reference, assert_same, pixels
from tetriserve.engine.devices import count_gpus

pytestmark = pytest.mark.skipif(count_gpus() < 2, reason="needs two GPUs")

SCHEDULES: list[list[Block]] = [[(0,)], [(0, 1)], [(1,), (0, 1), (0,), (0, 1)]]


@pytest.mark.parametrize("size", ["64x64", "208x144"])
def test_two_gpus_at_any_degree(size: str, checkpoint: GetCheckpoint) -> None:
    """In fp32, and against diffusers on one of the GPUs."""
    model_dir = checkpoint("true_cfg")
    reference = Reference("cuda")
    engine = Engine(model_dir, "cuda:2", "float32")
    with engine.executor:
        for blocks in SCHEDULES:
            request = engine.request(size)
            assert_same(engine.image(request, blocks, encode_on=1), reference.image(model_dir, request))


def test_bfloat16_depends_a_little_on_the_degree(checkpoint: GetCheckpoint) -> None:
    engine = Engine(checkpoint("embedded"), "cuda:2")
    with engine.executor:
        assert engine.executor.machine.dtype == "bfloat16"
        one, two = (pixels(engine.image(engine.request("208x144"), [block])) for block in ((0,), (0, 1)))
    assert abs(one.astype(int) - two.astype(int)).mean() < 2.0
