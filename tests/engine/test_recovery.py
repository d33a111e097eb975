"""Workers die, hang and come to grief; nothing that was done is done again, and nobody else notices."""

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import EVENT_TIMEOUT_S, Block, Engine, Work
from parity.reference import Reference, assert_same, pixels
from tetriserve.core.chunk import Stage
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.events import ChunkDone, ChunkEnd, ChunkFailed, ChunkLost, Event, WorkersBack, WorkersLost
from tetriserve.core.image import Image
from tetriserve.core.request import Request
from tetriserve.engine.config import EngineConfig
from tetriserve.engine.executor import ProcessExecutor


class Mortal(Engine):
    """An engine whose workers a test may kill; it waits for them."""

    def take(self, request: Request) -> Image:
        image = super().take(request)
        assert self.events.empty()
        return image

    def until(self, kind: type[Event], count: int = 1) -> list[Event]:
        """All events up to the n-th of a kind."""
        events: list[Event] = []
        while sum(isinstance(event, kind) for event in events) < count:
            events.append(self.events.get(timeout=EVENT_TIMEOUT_S))
        return events

    def kill(self, rank: int, how: signal.Signals = signal.SIGKILL) -> None:
        os.kill(self.executor.worker_pids[rank], how)

    def wait_until_whole(self, *devices: int) -> None:
        """Until devices that have been reported lost are reported back."""
        missing = set(devices)
        while missing:
            event = self.events.get(timeout=EVENT_TIMEOUT_S)
            assert isinstance(event, WorkersBack), event
            missing -= set(event.devices)

    def limited(self, work: Work, limit_s: float) -> Work:
        return work[0]._replace(limit_s=limit_s), work[1]


@pytest.fixture(scope="module")
def engine_of_mortals(checkpoint: GetCheckpoint) -> Iterator[Mortal]:
    engine = Mortal(checkpoint("true_cfg"), "cpu:2")
    engine.executor.start()
    yield engine
    engine.executor.close()


@pytest.fixture
def mortal(engine_of_mortals: Mortal) -> Mortal:
    """Two workers."""
    assert engine_of_mortals.events.empty()
    return engine_of_mortals


def test_a_request_goes_on_from_its_last_chunk_on_who_is_left_and_its_image_is_the_same(
    mortal: Mortal, reference: Reference
) -> None:
    request = mortal.request("208x144", steps=6)
    mortal.run([mortal.encode(request), mortal.denoise(request, (0, 1), 0, 3)])
    long = replace(request, num_inference_steps=6)
    mortal.executor.submit([mortal.denoise(long, (0, 1), 3, 2)])
    mortal.kill(1)
    lost, chunk = mortal.until(ChunkLost)
    assert isinstance(lost, WorkersLost)
    assert lost.devices == (1,)
    assert "worker 1 was killed by signal 9" in lost.message
    assert isinstance(chunk, ChunkLost)
    assert chunk.suspect
    done = mortal.run([mortal.denoise(request, (0,), 3, 3), mortal.decode(request)])  # worker 1 is still down
    assert all(isinstance(event, ChunkDone) for event in done)
    mortal.wait_until_whole(1)
    assert_same(mortal.take(request), reference.image(mortal.model_dir, request))
    image = mortal.image(replace(request, request_id="joint"), [(0, 1)])
    assert_same(image, reference.image(mortal.model_dir, request))


@pytest.mark.parametrize("queued", [False, True], ids=["waits", "runs"])
def test_a_step_that_was_interrupted_is_taken_again_by_who_is_left_and_the_image_is_the_same(
    queued: bool, mortal: Mortal, reference: Reference
) -> None:
    request = mortal.request("208x144", steps=6)
    mortal.run([mortal.encode(request), mortal.denoise(request, (0, 1), 0, 2.5)])
    if queued:
        mortal.executor.submit([mortal.denoise(request, (0, 1), 2.5, 2.25)])
    mortal.kill(1)
    mortal.until(ChunkLost if queued else WorkersLost)
    done = mortal.run([mortal.denoise(request, (0,), 2, 1.5), mortal.denoise(request, (0,), 3.5, 2.5)])
    assert all(isinstance(event, ChunkDone) for event in done)
    mortal.wait_until_whole(1)
    mortal.run([mortal.decode(request)])
    assert_same(mortal.take(request), reference.image(mortal.model_dir, request))


def play(engine: Mortal, request: Request, blocks: list[Block], moments: dict[int, int]) -> Image:
    """One step a chunk; a rank dies while a step runs, as `moments` says. Goes on at once where it can."""
    lost: set[int] = set()
    step, submitted = 0, [engine.encode(request)]
    engine.executor.submit(submitted)
    while True:
        event = engine.events.get(timeout=EVENT_TIMEOUT_S)
        if isinstance(event, WorkersLost | WorkersBack):
            lost = lost | set(event.devices) if isinstance(event, WorkersLost) else lost - set(event.devices)
            if submitted:
                continue
        else:
            assert isinstance(event, ChunkDone | ChunkLost)
            (chunk, _), submitted = submitted[0], []
            if isinstance(event, ChunkDone):
                step += chunk.stage is Stage.DENOISE
                if chunk.stage is Stage.DECODE:
                    break
        block = blocks[min(step, len(blocks) - 1)]
        there = next((part for part in (block, block[:1], (0,), (1,)) if lost.isdisjoint(part)), None)
        if there is None:
            continue
        last = step == request.num_inference_steps
        submitted = [engine.decode(request, there[0]) if last else engine.denoise(request, there, step)]
        engine.executor.submit(submitted)
        if step in moments:
            victim = moments.pop(step)
            time.sleep(random.Random(step + victim).random() * 0.02)
            if victim not in lost:
                engine.kill(victim)
    while lost:
        event = engine.events.get(timeout=EVENT_TIMEOUT_S)
        assert isinstance(event, WorkersLost | WorkersBack)
        lost = lost | set(event.devices) if isinstance(event, WorkersLost) else lost - set(event.devices)
    return engine.take(request)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_dies_whenever_the_image_is_the_same(seed: int, mortal: Mortal, reference: Reference) -> None:
    source = random.Random(seed)
    request = mortal.request("512x512", steps=6)
    blocks = [source.choice([(0,), (1,), (0, 1), (0, 1)]) for _ in range(6)]
    moments = {step: source.randrange(2) for step in source.sample(range(7), 2)}
    image = play(mortal, request, blocks, moments)
    assert_same(image, reference.image(mortal.model_dir, request))


def test_an_error_on_both_ranks_fails_the_request_and_no_worker(mortal: Mortal) -> None:
    """The workers know of two steps only: the third is an IndexError on both ranks."""
    short, pids = mortal.request(steps=2), mortal.executor.worker_pids
    mortal.run([mortal.encode(short)])
    (failed,) = mortal.run([mortal.denoise(replace(short, num_inference_steps=9), (0, 1), 5)])
    assert isinstance(failed, ChunkFailed)
    assert failed.code == "engine_error"
    assert failed.message.startswith("IndexError while steps 5 to 5")
    mortal.executor.release(short.request_id)
    mortal.image(mortal.request(), [(0, 1)])
    assert mortal.executor.worker_pids == pids


def test_an_error_in_the_rest_of_an_interrupted_step_fails_the_request_and_no_worker(mortal: Mortal) -> None:
    """The workers know of two steps: the third is an IndexError on both ranks. What is still owed is run in form."""
    short, pids = mortal.request(steps=2), mortal.executor.worker_pids
    mortal.run([mortal.encode(short), mortal.denoise(short, (0, 1), 0, 0.5)])
    lying = replace(short, num_inference_steps=9)
    (failed,) = mortal.run([mortal.denoise(lying, (0, 1), 0.5, 3)])
    assert isinstance(failed, ChunkFailed)
    mortal.image(mortal.request(), [(0, 1)])
    (owed,) = mortal.run([mortal.denoise(short, (0, 1), 0.5, 0.5)])
    assert isinstance(owed, ChunkFailed)
    assert owed.message == failed.message
    mortal.executor.release(short.request_id)
    mortal.image(mortal.request(), [(0, 1)])
    assert mortal.executor.worker_pids == pids


def test_of_requests_that_failed_together_only_the_guilty_one_fails(mortal: Mortal) -> None:
    good, bad = mortal.request(steps=4), mortal.request(steps=2)
    mortal.run([mortal.encode(good), mortal.encode(bad)])
    lying = replace(bad, num_inference_steps=4)
    mortal.executor.submit([mortal.denoise_batch([good, lying], (0, 1), 0, 4)])
    (together,) = mortal.until(ChunkEnd)
    assert isinstance(together, ChunkLost)
    assert (together.apart, together.suspect) == (True, False)
    one, other = mortal.run([mortal.denoise(good, (0, 1), 0, 4), mortal.denoise(lying, (0, 1), 0, 4)])
    assert isinstance(one, ChunkDone)
    assert isinstance(other, ChunkFailed)
    mortal.executor.release(bad.request_id)
    mortal.run([mortal.decode(good)])
    mortal.take(good)


def test_a_stopped_worker_is_taken_for_dead_when_its_chunk_is_overdue(mortal: Mortal) -> None:
    request = mortal.request()
    mortal.run([mortal.encode(request), mortal.denoise(request, (1,), 0)])
    mortal.kill(1, signal.SIGSTOP)
    mortal.executor.submit([mortal.limited(mortal.denoise(request, (1,), 1), 1.0)])
    lost, chunk = mortal.until(ChunkLost)
    assert isinstance(lost, WorkersLost)
    assert lost.devices == (1,)
    assert "worker 1 hung in denoise of" in lost.message
    assert isinstance(chunk, ChunkLost)
    done = mortal.run([mortal.denoise(request, (0,), 1, 3), mortal.decode(request)])
    assert all(isinstance(event, ChunkDone) for event in done)
    mortal.wait_until_whole(1)
    mortal.take(request)


def test_nobody_waits_for_a_stopped_worker_that_gets_a_lot_to_read(mortal: Mortal) -> None:
    mortal.kill(0, signal.SIGSTOP)
    begin_s = time.monotonic()
    long = [mortal.request(prompt=f"{index} " + "red cat " * 4000) for index in range(40)]
    works = [mortal.limited(mortal.encode(request, 0), 0.2) for request in long]
    mortal.executor.submit(works)
    assert time.monotonic() - begin_s < 1.0
    assert mortal.executor.take_preview("nobody") is None
    events = mortal.until(ChunkLost, len(works))
    mortal.wait_until_whole(*[device for event in events if isinstance(event, WorkersLost) for device in event.devices])
    for request in long:
        mortal.executor.release(request.request_id)


class Strait:
    """A limit on what a worker may allocate beyond what it has."""

    def __init__(self, pid: int, extra_bytes: int) -> None:
        self._pid = pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        self._limit = pages * resource.getpagesize() + extra_bytes

    def __enter__(self) -> None:
        self._before = resource.prlimit(self._pid, resource.RLIMIT_AS, (self._limit, resource.RLIM_INFINITY))

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(self._pid, resource.RLIMIT_AS, self._before)


def test_a_decoding_that_does_not_fit_is_done_in_tiles_and_says_so(mortal: Mortal) -> None:
    """All of it takes about 180 MiB, a tile less than 100; what the worker has free already is not known."""
    request = mortal.request("1024x1024", steps=1)
    mortal.run([mortal.encode(request), mortal.decode(request)])  # libraries load what they need in the first
    assert mortal.executor.take_image(request.request_id).warnings == ()
    for extra_mib in (160, 144, 128, 112):
        with Strait(mortal.executor.worker_pids[0], extra_mib << 20):
            (event,) = mortal.run([mortal.decode(request)])
        assert isinstance(event, ChunkDone), event
        image = mortal.executor.take_image(request.request_id)
        if image.warnings:
            break
    assert image.warnings == ("the image was decoded in tiles for lack of memory",)
    assert pixels(image).std() > 0
    mortal.executor.release(request.request_id)


def test_steps_that_do_not_fit_fail_their_request_alone(mortal: Mortal) -> None:
    mortal.kill(0)  # the next one has nothing to spare
    mortal.until(WorkersLost)
    mortal.wait_until_whole(0)
    large, small, pids = mortal.request("1024x1024", steps=1), mortal.request("208x144"), mortal.executor.worker_pids
    mortal.run([mortal.encode(large), mortal.encode(small)])
    mortal.run([mortal.denoise(small, (0, 1), 0)])  # libraries load what they need in the first
    with Strait(pids[0], 0):
        (event,) = mortal.run([mortal.denoise(large, (0, 1), 0)])
    assert isinstance(event, ChunkFailed)
    assert event.code == "out_of_memory"
    mortal.executor.release(large.request_id)
    done = mortal.run([mortal.denoise(small, (0, 1), 1, 3), mortal.decode(small)])
    assert all(isinstance(event, ChunkDone) for event in done)
    mortal.take(small)
    assert mortal.executor.worker_pids == pids


def test_a_model_that_can_not_be_loaded_is_the_operators_error(tmp_path: Path, checkpoint: GetCheckpoint) -> None:
    for name in ("model_index.json", "tetriserve.json", "transformer"):
        (tmp_path / name).symlink_to(checkpoint("none") / name)
    engine = Engine(tmp_path, "cpu:1")
    with pytest.raises(ConfigurationError, match=r"text_encoder lacks 1 of 1 weight files: model\.safetensors"):
        engine.executor.start()


def test_an_executor_without_a_model_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ProcessExecutor(EngineConfig(tmp_path), print)
