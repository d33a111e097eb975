"""A worker process: one device, one thread that executes, one that listens. The only way in is `work`."""

import itertools
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Never

import torch

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine.completion import Launched
from tetriserve.engine.groups import exchange_room, join_groups
from tetriserve.engine.memory import CAPABILITY_OF_8_BITS, check_memory
from tetriserve.engine.messages import (
    Broken,
    Cancel,
    Command,
    Finished,
    Notice,
    Progress,
    Ready,
    Report,
    Setup,
    StartFailed,
    receive_command,
    send,
)
from tetriserve.engine.runner import Runner
from tetriserve.models.card import ModelCard
from tetriserve.models.loading import load_model, quiet_libraries

LEAST_CAPABILITY = {"bfloat16": (8, 0), "fp8": CAPABILITY_OF_8_BITS}


def work(connection: Connection) -> Never:
    """Execute the parent's commands in their order until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    cancelled: set[str] = set()
    threading.Thread(target=_listen, args=(connection, commands, cancelled), daemon=True).start()
    setup = commands.get()
    assert isinstance(setup, Setup)
    with torch.inference_mode():
        runner = _start(setup, connection, cancelled)
        if runner is not None:
            _execute(runner, commands, connection)
    threading.Event().wait()  # the parent ends this process
    raise AssertionError


def _listen(connection: Connection, commands: "queue.SimpleQueue[Command]", cancelled: set[str]) -> None:
    """Commands queue up while others run; a Cancel is for those that wait, so it doesn't.

    Without a parent there is nothing left to do, whatever is running.
    """
    try:
        while True:
            command = receive_command(connection)
            if isinstance(command, Cancel):
                cancelled.add(command.request_id)
            else:
                commands.put(command)
    except (EOFError, OSError):
        os._exit(0)
    finally:
        os._exit(1)  # a worker that can't hear is of no use, and its death is noticed


def _start(setup: Setup, connection: Connection, cancelled: set[str]) -> Runner | None:
    """Load the model and meet the other ranks; None, and a report, if that fails."""
    try:
        device = torch.device(setup.devices[setup.rank])
        _configure(device, setup.num_threads, setup.dtype)
        eight_bits = setup.dtype == "fp8"
        dtype = torch.bfloat16 if eight_bits else getattr(torch, setup.dtype)
        memory = check_memory(setup, device)
        if memory.notice is not None and setup.rank == 0:
            _tell(connection, Notice(memory.notice))
        model = load_model(
            Path(setup.model_dir),
            device,
            dtype,
            lambda text: _tell(connection, Progress(text)),
            setup.loading,
            eight_bits=eight_bits,
        )
        _tell(connection, Progress("joining the other workers"))
        cells = [(_request_of(size, model.card), batch) for size, batch in setup.cells]
        groups = join_groups(setup, device, partial(exchange_room, model, cells))
        runner = Runner(model, device, groups, cancelled, tiled=memory.tiled)
        if device.type == "cuda":
            _capture(runner, cells, lambda text: _tell(connection, Progress(text)))
    except ConfigurationError as error:
        _tell(connection, StartFailed(str(error), is_configuration=True))
    except Exception as error:  # noqa: BLE001  (the parent decides what a failed start means)
        _tell(connection, StartFailed(f"{type(error).__name__}: {error}", is_configuration=False))
    else:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        _tell(connection, Ready(name, str(torch.__version__)))
        return runner
    return None


def _request_of(size: Size, card: ModelCard) -> Request:
    """A request of the usual kind, to make its step ready."""
    return Request("capture", "", size, 1, card.default_guidance_scale, 0, 0.0, 0.0)


def _capture(runner: Runner, cells: Sequence[tuple[Request, int]], report: Callable[[str], None]) -> None:
    """Record the steps of all cells on all blocks of this rank, in one order on all ranks."""
    for done, (block, (request, batch)) in enumerate(itertools.product(runner.blocks, cells)):
        report(f"graph {done + 1} of {len(runner.blocks) * len(cells)}: {request.size} x {batch} on {len(block)} GPUs")
        runner.capture(request, batch, block)


def _configure(device: torch.device, num_threads: int, dtype: str) -> None:
    """Raises ConfigurationError if the device lacks the number format."""
    quiet_libraries()
    torch.set_num_threads(num_threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        found, needed = torch.cuda.get_device_capability(device), LEAST_CAPABILITY.get(dtype, (0, 0))
        if found < needed:
            raise ConfigurationError(
                f"dtype {dtype} needs a GPU of compute capability {needed[0]}.{needed[1]}; "
                f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}"
            )


def _execute(runner: Runner, commands: "queue.SimpleQueue[Command]", connection: Connection) -> None:
    """Returns only when this rank can't go on."""
    reports: queue.SimpleQueue[Finished | Broken | Launched] = queue.SimpleQueue()
    threading.Thread(target=_report, args=(connection, reports), daemon=True).start()
    while True:
        command = commands.get()
        assert not isinstance(command, Setup | Cancel)
        try:
            report = runner.run(command)
        except Exception as error:  # noqa: BLE001  (the parent replaces all workers)
            reports.put(Broken(f"{type(error).__name__} in {type(command).__name__}: {error}"))
            return
        if report is not None:
            reports.put(report)


def _report(connection: Connection, reports: "queue.SimpleQueue[Finished | Broken | Launched]") -> None:
    """Tell of every chunk when it is over, in their order, while the device already has the next."""
    while True:
        report = reports.get()
        try:
            _tell(connection, report.wait() if isinstance(report, Launched) else report)
        except Exception as error:  # noqa: BLE001  (the device is lost; the parent replaces all workers)
            _tell(connection, Broken(f"{type(error).__name__} while a chunk was running: {error}"))
            return


def _tell(connection: Connection, report: Report) -> None:
    """A parent that is gone is `_listen`'s business."""
    try:
        send(connection, report)
    except OSError:
        os._exit(0)
