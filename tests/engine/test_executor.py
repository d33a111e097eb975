"""What a user of the executor sees when all goes well."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from parity.fixtures import GetEngine
from parity.harness import EVENT_TIMEOUT_S
from parity.reference import Reference, assert_same
from tetriserve.core.errors import EngineError
from tetriserve.core.events import ChunkDone, StepDone


def test_the_parent_needs_no_torch() -> None:
    code = "import sys, tetriserve.engine.executor; sys.exit(bool({'torch', 'diffusers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_times_are_in_order_and_on_the_monotonic_clock(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    request = engine_2.request()
    events = engine_2.run(engine_2.plan(request, [(0,), (0, 1), (1,)]))
    engine_2.take(request)
    assert all(isinstance(event, ChunkDone) and event.started_s < event.finished_s for event in events)
    starts = [event.started_s for event in events]
    assert starts == sorted(starts)


def test_steps_are_told_while_their_chunk_runs_at_every_degree_and_the_image_is_the_same(
    engine: GetEngine, reference: Reference
) -> None:
    engine_2 = engine("true_cfg", 2)
    request = replace(engine_2.request("208x144", steps=12), is_watched=True)
    work = engine_2.plan(request, [*[(0,)] * 4, *[(0, 1)] * 5, *[(1,)] * 3])
    engine_2.executor.submit(work)
    told, came_s = [], []
    while len(told) < 5 + 3 + 4 + 2:
        told.append(engine_2.events.get(timeout=EVENT_TIMEOUT_S))
        came_s.append(time.monotonic())
    for chunk, _ in work:
        *steps, (end, _) = [
            (event, at_s) for event, at_s in zip(told, came_s, strict=True) if event.chunk_id == chunk.chunk_id
        ]
        assert isinstance(end, ChunkDone)
        assert [event for event, _ in steps] == [StepDone(chunk.chunk_id, num + 1) for num in range(len(steps))]
        assert len(steps) == max(0, chunk.num_steps - 1)
        assert all(end.started_s < at_s for _, at_s in steps)
        assert not steps or steps[0][1] < end.finished_s  # not all of them at the end
    assert_same(engine_2.take(request), reference.image(engine_2.model_dir, request))


def test_a_profiler_may_step_at_any_degree_without_ever_decoding(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    request = engine_2.request(steps=9)
    blocks = ((0,), (1,), (0, 1))
    works = [engine_2.encode(request), *(engine_2.denoise(request, b, 3 * i, 3) for i, b in enumerate(blocks))]
    assert all(isinstance(event, ChunkDone) for event in engine_2.run(works))
    engine_2.executor.release(request.request_id)


def test_a_cut_prompt_is_a_warning_with_the_image(engine: GetEngine, reference: Reference) -> None:
    engine_2 = engine("true_cfg", 2)
    request = engine_2.request(prompt="a red cat " * 8)
    image = engine_2.image(request, [(0, 1)])
    t5, clip = image.warnings
    assert "T5 text encoder kept 15 of 25 tokens" in t5
    assert "CLIP text encoder kept 12 of 25 tokens" in clip
    assert_same(image, reference.image(engine_2.model_dir, request))


def test_an_image_can_be_taken_once(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    request = engine_2.request()
    assert engine_2.image(request, [(0,)]).warnings == ()
    with pytest.raises(KeyError):
        engine_2.executor.take_image(request.request_id)


def test_released_requests_and_unknown_ids_are_forgotten(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    request = engine_2.request()
    engine_2.run([engine_2.encode(request)])
    engine_2.executor.release(request.request_id)
    engine_2.executor.release("never heard of")
    with pytest.raises(EngineError, match="has not been encoded"):
        engine_2.executor.submit([engine_2.encode(engine_2.request()), engine_2.denoise(request, (0,), 0)])


def test_an_illegal_chunk_is_refused_and_nothing_of_its_batch_runs(engine: GetEngine) -> None:
    engine_2 = engine("true_cfg", 2)
    request = engine_2.request()
    with pytest.raises(EngineError, match="no block"):
        engine_2.executor.submit([engine_2.encode(request), engine_2.denoise(request, (0, 1, 2, 3), 0)])
    engine_2.image(request, [(0,)])
    assert engine_2.events.empty()


def test_the_machine_is_described(engine: GetEngine) -> None:
    machine = engine("true_cfg", 2).executor.machine
    assert machine.devices == ("cpu", "cpu")
    assert machine.dtype == "float32"
    assert machine.torch_version.startswith("2.")


def test_a_request_goes_on_elsewhere_while_the_worker_that_had_it_is_busy_with_another(
    engine: GetEngine, reference: Reference
) -> None:
    engine_2 = engine("true_cfg", 2)
    long, moved = engine_2.request("208x144", steps=40), engine_2.request(seed=3)
    first = [engine_2.encode(long), engine_2.encode(moved), engine_2.denoise(moved, (0,), 0)]
    assert all(isinstance(event, ChunkDone) for event in engine_2.run(first))
    chunk, requests = engine_2.denoise(long, (0,), 0, 40)
    engine_2.executor.submit([(chunk._replace(expected_s=5.0), requests)])
    rest = [engine_2.denoise(moved, (1,), 1, 3), engine_2.decode(moved, 1)]
    engine_2.executor.submit(rest)
    ended = [event.chunk_id for event in engine_2.take_events(3)]
    assert ended == [rest[0][0].chunk_id, rest[1][0].chunk_id, chunk.chunk_id]
    engine_2.executor.release(long.request_id)
    assert_same(engine_2.take(moved), reference.image(engine_2.model_dir, moved))
