"""A step that is interrupted between blocks of the transformer, and goes on later, gives what a whole one gives."""

from itertools import pairwise

import pytest

from parity.fixtures import GetEngine
from parity.harness import Block, Engine, Work
from parity.reference import Reference, assert_same
from tetriserve.core.events import ChunkDone, ChunkFailed
from tetriserve.core.request import Request

CUTS = (0, 0.25, 1.25, 1.75, 2, 2.5, 2.625, 4)
"""Chunks that begin and end within steps, with whole steps between, and at the ends of steps."""

one, two, four = (0,), (0, 1), (0, 1, 2, 3)


def in_parts(engine: Engine, request: Request, block: Block) -> list[Work]:
    """All chunks of a request whose steps are interrupted."""
    steps = [engine.denoise(request, block, first, end - first) for first, end in pairwise(CUTS)]
    return [engine.encode(request, block[-1]), *steps, engine.decode(request, block[0])]


@pytest.mark.parametrize("block", [one, two, four], ids=str)
@pytest.mark.parametrize("kind", ["true_cfg", "embedded", "sd3.5-medium", "qwen-image"])
def test_an_interrupted_request_is_diffusers(kind: str, block: Block, engine: GetEngine, reference: Reference) -> None:
    """Two at a time, so that each is interrupted by the other; lengths that don't divide."""
    engine_n = engine(kind, len(block))
    a, b = engine_n.request("208x144", seed=1), engine_n.request("64x48", seed=2, prompt="a green dog in the sea")
    pairs = zip(in_parts(engine_n, a, block), in_parts(engine_n, b, block), strict=True)
    events = engine_n.run([work for pair in pairs for work in pair])
    assert all(isinstance(event, ChunkDone) for event in events), events
    whole = engine_n.request("208x144", seed=1)
    assert engine_n.take(a).rgb == engine_n.image(whole, [block]).rgb
    assert_same(engine_n.take(b), reference.image(engine_n.model_dir, b))


def test_who_fails_within_a_step_leaves_nobody_waiting(engine: GetEngine, reference: Reference) -> None:
    """Its latents become infinite in the first step; what is queued behind that, within the second, is run in form."""
    engine_2 = engine("true_cfg", 2)
    poisoned, well = engine_2.request(guidance=1e38), engine_2.request(seed=3)
    pairs = zip(in_parts(engine_2, poisoned, two), in_parts(engine_2, well, two), strict=True)
    events = engine_2.run([work for pair in pairs for work in pair])
    assert any(isinstance(event, ChunkFailed) for event in events[::2])
    assert all(isinstance(event, ChunkDone) for event in events[1::2]), events
    engine_2.executor.release(poisoned.request_id)
    assert_same(engine_2.take(well), reference.image(engine_2.model_dir, well))


def test_a_step_can_be_taken_again_from_its_begin(engine: GetEngine, reference: Reference) -> None:
    """As after the loss of a device that had a part of it: what was kept of the first try does not matter."""
    engine_2 = engine("embedded", 2)
    request = engine_2.request("64x48")
    parts = [(two, 0, 1.5), (one, 1, 0.25), (one, 1.25, 2.75)]
    steps = [engine_2.denoise(request, block, first, num) for block, first, num in parts]
    events = engine_2.run([engine_2.encode(request), *steps, engine_2.decode(request)])
    assert all(isinstance(event, ChunkDone) for event in events), events
    assert_same(engine_2.take(request), reference.image(engine_2.model_dir, request))
