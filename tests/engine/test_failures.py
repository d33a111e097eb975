"""One request's failure is its own: nobody hangs, nobody else's image changes."""

from dataclasses import replace

import pytest

from parity.fixtures import GetEngine
from parity.harness import Block
from parity.reference import pixels
from tetriserve.core.events import ChunkDone, ChunkFailed
from tetriserve.core.size import Size
from tetriserve.engine.faults import failure_of

TOO_LARGE = Size(48_000_000, 48_000_000)
"""Its latents exceed any address space."""


@pytest.mark.parametrize("blocks", [[(0,)], [(0, 1)], [(1,), (0, 1), (0,)]], ids=str)
def test_a_failing_request_leaves_its_neighbour_alone(blocks: list[Block], engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    good, alone = engine_2.request("208x144"), engine_2.request("208x144")
    expected = engine_2.image(alone, blocks)
    bad = engine_2.request("208x144", guidance=1e38)
    plans = engine_2.plan(good, blocks), engine_2.plan(bad, blocks)
    events = engine_2.run([work for pair in zip(*plans, strict=True) for work in pair])
    assert all(isinstance(event, ChunkDone) for event in events[::2])
    assert (pixels(engine_2.take(good)) == pixels(expected)).all()
    failed = [event for event in events[1::2] if isinstance(event, ChunkFailed)]
    assert {event.code for event in failed} == {"non_finite_latents"}
    assert "after steps 0 to" in failed[0].message
    assert isinstance(events[-1], ChunkFailed)
    with pytest.raises(KeyError):
        engine_2.executor.take_image(bad.request_id)
    engine_2.executor.release(bad.request_id)


def test_in_a_batch_only_the_failing_request_fails(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    good, bad = engine_2.request(), engine_2.request(guidance=1e38)
    engine_2.run([engine_2.encode(good), engine_2.encode(bad)])
    (event,) = engine_2.run([engine_2.denoise_batch([good, bad], (0, 1), 0, 4)])
    assert isinstance(event, ChunkFailed)
    assert event.failed_ids == (bad.request_id,)
    engine_2.executor.release(bad.request_id)
    assert isinstance(engine_2.run([engine_2.decode(good)])[0], ChunkDone)
    engine_2.take(good)


def test_too_large_a_request_is_out_of_memory(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    request = replace(engine_2.request(), size=TOO_LARGE)
    events = engine_2.run(engine_2.plan(request, [(0,)]))
    assert [type(event) for event in events] == [ChunkFailed] * 3
    assert {event.code for event in events if isinstance(event, ChunkFailed)} == {"out_of_memory"}
    engine_2.executor.release(request.request_id)
    engine_2.image(engine_2.request(), [(0, 1)])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            "out_of_memory",
        ),
        (RuntimeError("can't start new thread"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("shapes don't fit"), "engine_error"),
        (ValueError("can't start new thread"), "engine_error"),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, code: str) -> None:
    assert failure_of("a", error, "encoding the prompt").code == code
