"""However a program ends, no process stays behind and nothing is printed that would alarm anyone.

A parent that is killed: tests/server/test_shutdown.py.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.fixtures import GetCheckpoint
from parity.harness import EVENT_TIMEOUT_S, Engine

PROGRAM = """
import os, signal, sys, time
from parity.harness import Engine
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
    engine = Engine(Path(sys.argv[1]), "cpu:2")
    engine.executor.start()
    engine.executor.submit(engine.plan(engine.request("512x512", steps=500), [(0, 1)]))
    engine.events.get()
    print("busy", flush=True)
    if sys.argv[2] == "wait":
        time.sleep(60)
"""


SCRIPT = """
import tetriserve
with tetriserve.Pipeline(devices="cpu:1") as pipeline:
    print(pipeline.generate("a red apple", size="128x128", num_inference_steps=1, seed=1))
"""


def test_a_script_that_does_not_ask_whether_it_is_main_makes_its_image_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    run = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.startswith("GeneratedImage(seed=1, latency_s="), run.stderr
    assert len(run.stdout.splitlines()) == 1


def start_program(model_dir: Path, then: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(model_dir), then],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def living(pids: Iterable[int]) -> set[int]:
    """Which of these children of ours still run. Not all children: other tests of this process may have some."""
    return {child.pid for child in multiprocessing.active_children() if child.pid is not None}.intersection(pids)


@contextmanager
def busy_program(model_dir: Path, then: str) -> "Iterator[subprocess.Popen[str]]":
    """A program in the middle of a chunk, or just past it."""
    program = start_program(model_dir, then)
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "busy\n"
        yield program
    finally:
        program.kill()
        program.communicate()


def wait_until_alone(session: int) -> None:
    deadline_s = time.monotonic() + 10.0  # tearing torch down takes a while on a busy machine
    while processes_of(session):
        assert time.monotonic() < deadline_s, f"still alive: {processes_of(session)}"
        time.sleep(0.02)


def processes_of(session: int) -> list[str]:
    """Command lines of a session's living processes."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, sid = (directory / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(sid) == session and state != "Z":
                found.append((directory / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def test_ctrl_c_ends_everything_with_one_traceback(checkpoint: GetCheckpoint) -> None:
    with busy_program(checkpoint("true_cfg"), "wait") as program:
        assert len(processes_of(program.pid)) >= 4  # itself, the forkserver and two workers
        os.killpg(program.pid, signal.SIGINT)  # as a terminal does
        _, errors = program.communicate(timeout=EVENT_TIMEOUT_S)
    wait_until_alone(program.pid)
    assert errors.count("Traceback") == 1
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_a_program_that_forgets_to_close_ends_quietly(checkpoint: GetCheckpoint) -> None:
    with busy_program(checkpoint("true_cfg"), "end") as program:
        _, errors = program.communicate(timeout=EVENT_TIMEOUT_S)
    assert program.returncode == 0
    assert errors == "" or "Traceback" not in errors
    wait_until_alone(program.pid)


def test_close_is_quick_in_the_middle_of_a_chunk_and_may_be_repeated(checkpoint: GetCheckpoint) -> None:
    engine = Engine(checkpoint("true_cfg"), "cpu:2")
    engine.executor.start()
    engine.executor.submit(engine.plan(engine.request("512x512", steps=500), [(0, 1)]))
    engine.take_events(1)
    started_s = time.monotonic()
    engine.executor.close()
    engine.executor.close()
    assert time.monotonic() - started_s < 2.0
    assert living(engine.executor.worker_pids) == set()
    assert engine.events.empty()


def test_a_dropped_executor_takes_its_workers_along(checkpoint: GetCheckpoint) -> None:
    engine = Engine(checkpoint("true_cfg"), "cpu:1")
    engine.executor.start()
    pids = engine.executor.worker_pids
    assert living(pids) == set(pids)
    assert len(pids) == 1
    del engine
    gc.collect()
    assert living(pids) == set()


def test_an_executor_that_was_never_started_can_be_closed(checkpoint: GetCheckpoint) -> None:
    Engine(checkpoint("true_cfg"), "cpu:1").executor.close()
