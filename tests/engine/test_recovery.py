"""Workers die; the parent lives on, says so once, and has new ones."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from parity.fixtures import GetCheckpoint
from parity.harness import EVENT_TIMEOUT_S, Engine
from parity.reference import Reference, assert_same
from tetriserve.core.errors import ConfigurationError, EngineError
from tetriserve.core.events import ChunkDone, Event, WorkersLost
from tetriserve.engine.config import EngineConfig, resolve
from tetriserve.engine.dispatch import Dispatcher
from tetriserve.engine.executor import ProcessExecutor
from tetriserve.engine.messages import Ready, Report, Setup
from tetriserve.engine.supervisor import Supervisor
from tetriserve.engine.workers import WorkerLostError, Workers


@pytest.fixture
def mortal(checkpoint: GetCheckpoint) -> Iterator[Engine]:
    """Two workers that a test may kill."""
    engine = Engine(checkpoint("true_cfg"), "cpu:2")
    engine.executor.start()
    yield engine
    engine.executor.close()


def test_a_killed_worker_is_replaced_and_the_next_image_is_right(mortal: Engine, reference: Reference) -> None:
    long = mortal.request("512x512", steps=200)
    mortal.executor.submit(mortal.plan(long, [(0, 1)]))
    assert isinstance(mortal.events.get(timeout=EVENT_TIMEOUT_S), ChunkDone)  # encoded; the steps have begun
    os.kill(mortal.executor.worker_pids[1], signal.SIGKILL)
    lost = mortal.events.get(timeout=EVENT_TIMEOUT_S)
    assert isinstance(lost, WorkersLost)
    assert lost.devices == (0, 1)
    assert "signal 9" in lost.message
    request = mortal.request("208x144")
    image = mortal.image(request, [(0,), (0, 1), (1,)])  # queued until there are workers again
    assert_same(image, reference.image(mortal.model_dir, request))
    assert mortal.events.empty()
    assert mortal.executor.failed is None


def test_an_error_in_a_joint_chunk_replaces_the_workers(mortal: Engine) -> None:
    """The workers know of two steps only: the third is an IndexError on both ranks."""
    short = mortal.request(steps=2)
    mortal.run([mortal.encode(short)])
    mortal.executor.submit([mortal.denoise(replace(short, num_inference_steps=9), (0, 1), 5)])
    lost = mortal.events.get(timeout=EVENT_TIMEOUT_S)
    assert isinstance(lost, WorkersLost)
    assert "IndexError in Denoise" in lost.message
    mortal.image(mortal.request(), [(0, 1)])


def test_chunks_planned_before_the_loss_was_known_are_void(mortal: Engine) -> None:
    request = mortal.request()
    mortal.run([mortal.encode(request)])
    os.kill(mortal.executor.worker_pids[0], signal.SIGKILL)
    assert isinstance(mortal.events.get(timeout=EVENT_TIMEOUT_S), WorkersLost)
    mortal.executor.submit([mortal.denoise(request, (0,), 0)])  # its tensors are gone
    mortal.image(mortal.request(), [(0, 1)])
    assert mortal.events.empty()


def test_a_model_that_can_not_be_loaded_is_the_operators_error(tmp_path: Path, checkpoint: GetCheckpoint) -> None:
    for name in ("model_index.json", "tetriserve.json", "transformer"):
        (tmp_path / name).symlink_to(checkpoint("none") / name)
    engine = Engine(tmp_path, "cpu:1")
    with pytest.raises(ConfigurationError, match=r"text_encoder lacks 1 of 1 weight files: model\.safetensors"):
        engine.executor.start()


class BrokenWorkers(Workers):
    """Dies at once, or, if `outcomes` says so, after it was ready."""

    def __init__(self, outcomes: Iterator[bool]) -> None:
        super().__init__()
        self.starts_well = next(outcomes)

    def launch(self, setups: list[Setup]) -> None:
        pass

    def receive(self, wake: Connection) -> list[tuple[int, Report]]:
        if self.starts_well and not self.are_ready:
            return [(0, Ready("cpu", "2.0"))]
        raise WorkerLostError("worker 0 was killed by signal 9")


def supervise(checkpoint: GetCheckpoint, *outcomes: bool) -> tuple[Dispatcher, list[Event]]:
    events: list[Event] = []
    dispatcher = Dispatcher(1, events.append)
    config = resolve(EngineConfig(checkpoint("none"), "cpu:1"))
    generations = iter(outcomes)
    supervisor = Supervisor(config, dispatcher, lambda text: None, lambda: BrokenWorkers(generations))
    try:
        with suppress(EngineError):  # may fail before this thread has seen it succeed
            supervisor.start()
        while dispatcher.failed is None:
            time.sleep(0.01)
    finally:
        supervisor.stop()
    return dispatcher, events


def test_a_first_start_that_fails_is_told_to_whoever_started(checkpoint: GetCheckpoint) -> None:
    dispatcher, events = supervise(checkpoint, False)
    assert str(dispatcher.failed) == "the workers can't be started: worker 0 was killed by signal 9"
    assert events == []


def test_two_failed_starts_in_a_row_end_the_engine(checkpoint: GetCheckpoint) -> None:
    dispatcher, events = supervise(checkpoint, True, False, True, False, False)
    assert [type(event) for event in events] == [WorkersLost] * 3
    assert events[-1].message.startswith("the workers can't be started")
    with pytest.raises(EngineError, match="can't be started"):
        dispatcher.submit([])


def test_an_executor_without_a_model_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ProcessExecutor(EngineConfig(tmp_path), print)
