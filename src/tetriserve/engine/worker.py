"""A worker process: one device, one thread that executes, one that listens. The only way in is `work`."""

import itertools
import os
import queue
import signal
import threading
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Never

import torch

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.engine.completion import Launched, LaunchedStep
from tetriserve.engine.groups import Groups, exchange_room
from tetriserve.engine.lifetime import die_with_parent
from tetriserve.engine.memory import CAPABILITY_OF_8_BITS, check_memory
from tetriserve.engine.messages import (
    Between,
    Cancel,
    Command,
    Died,
    Joined,
    Notice,
    Proceed,
    Progress,
    Ready,
    Regroup,
    Report,
    Setup,
    StartFailed,
    decode_command,
    encode,
)
from tetriserve.engine.runner import Runner
from tetriserve.models.card import ModelCard
from tetriserve.models.loading import load_model, quiet_libraries

LEAST_CAPABILITY = {"bfloat16": (8, 0), "fp8": CAPABILITY_OF_8_BITS}


def work(connection: Connection) -> Never:
    """Execute the parent's commands in their order until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    inbox = Inbox(connection)
    threading.Thread(target=inbox.listen, daemon=True).start()
    setup = inbox.commands.get()
    assert isinstance(setup, Setup)
    with torch.inference_mode():
        worker = _start(setup, connection, inbox)
        if worker is not None:
            worker.execute()
    threading.Event().wait()  # the parent ends this process
    raise AssertionError


class Inbox:
    """What the parent has sent. Commands queue up while others run; a Cancel or Proceed is about those that wait."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self.proceeds: queue.SimpleQueue[Proceed] = queue.SimpleQueue()
        self.cancelled: set[str] = set()

    def listen(self) -> None:
        """Without a parent there is nothing left to do, whatever is running."""
        try:
            while True:
                command = decode_command(self._connection.recv_bytes())
                match command:
                    case Cancel(request_id):
                        self.cancelled.add(request_id)
                    case Proceed():
                        self.proceeds.put(command)
                    case _:
                        self.commands.put(command)
        except (EOFError, OSError):
            os._exit(0)
        finally:
            os._exit(1)  # a worker that can't hear is of no use, and its death is noticed


def _start(setup: Setup, connection: Connection, inbox: Inbox) -> "Worker | None":
    """Load the model; None, and a report, if that fails."""
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
        cells = [(_request_of(size, model.card), batch) for size, batch in setup.cells]
        groups = Groups(setup.rank, device, partial(exchange_room, model, cells))
        runner = Runner(model, device, groups, inbox.cancelled, tiled=memory.tiled)
        worker = Worker(runner, inbox, connection, device, cells)
        worker.rehearse()
        worker.capture([(setup.rank,)])
    except ConfigurationError as error:
        _tell(connection, StartFailed(str(error), is_configuration=True))
    except Exception as error:  # noqa: BLE001  (the parent decides what a failed start means)
        _tell(connection, StartFailed(f"{type(error).__name__}: {error}", is_configuration=False))
    else:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        _tell(connection, Ready(name, str(torch.__version__)))
        return worker
    return None


def _request_of(size: Size, card: ModelCard) -> Request:
    """A request of the usual kind, to make its step ready."""
    return Request("capture", "", size, 1, card.default_guidance_scale, 0, 0.0, 0.0)


def _configure(device: torch.device, num_threads: int, dtype: str) -> None:
    """Raises ConfigurationError if the device lacks the number format."""
    quiet_libraries()
    torch.set_num_threads(num_threads)
    torch.backends.cudnn.allow_tf32 = dtype != "float32"  # who asks for 32 bits gets them
    if device.type == "cuda":
        torch.cuda.set_device(device)
        found, needed = torch.cuda.get_device_capability(device), LEAST_CAPABILITY.get(dtype, (0, 0))
        if found < needed:
            raise ConfigurationError(
                f"dtype {dtype} needs a GPU of compute capability {needed[0]}.{needed[1]}; "
                f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}"
            )


Outgoing = Report | Launched | LaunchedStep


class Worker:
    """Executes commands in their order, and tells of each when it is over."""

    def __init__(
        self,
        runner: Runner,
        inbox: Inbox,
        connection: Connection,
        device: torch.device,
        cells: Sequence[tuple[Request, int]],
    ) -> None:
        self._runner = runner
        self._inbox = inbox
        self._connection = connection
        self._device = device
        self._cells = cells
        self._reports: queue.SimpleQueue[Outgoing] = queue.SimpleQueue()

    def execute(self) -> None:
        """Returns only when this device is of no use any more."""
        threading.Thread(target=self._report, daemon=True).start()
        while True:
            command = self._inbox.commands.get()
            try:
                report = self._execute(command)
            except Exception as error:  # noqa: BLE001  (the parent replaces this worker)
                self._reports.put(Died(f"{type(error).__name__} in {type(command).__name__}: {error}"))
                return
            if report is not None:
                self._reports.put(report)

    def _execute(self, command: Command) -> Outgoing | None:
        assert not isinstance(command, Setup | Cancel | Proceed)
        if isinstance(command, Regroup):
            return self._regroup(command)
        return self._runner.run(command, self._reports.put)

    def rehearse(self) -> None:
        """Encode and decode once for every size: no request pays for what is made at the first time. On GPUs only."""
        if self._device.type != "cuda":
            return
        for request in dict.fromkeys(request for request, _ in self._cells):
            _tell(self._connection, Progress(f"warming up for {request.size}"))
            self._runner.rehearse(request)

    def capture(self, blocks: Sequence[tuple[int, ...]]) -> None:
        """Record the steps of all cells on some blocks, in one order on all ranks; on GPUs only."""
        if self._device.type != "cuda":
            return
        total = len(blocks) * len(self._cells)
        for done, (block, (request, batch)) in enumerate(itertools.product(blocks, self._cells)):
            what = f"graph {done + 1} of {total}: {request.size} x {batch} on {len(block)} GPUs"
            _tell(self._connection, Progress(what))
            self._runner.capture(request, batch, block)

    def _regroup(self, command: Regroup) -> Joined | None:
        """Make groups when all their ranks have come to this point."""
        self._reports.put(Between(command.epoch))
        while (proceed := self._inbox.proceeds.get()).epoch != command.epoch:
            pass  # of one that was called off before this rank came to it
        if not proceed.go:
            return None
        try:
            self.capture(self._runner.regroup(command))
        except Exception as error:  # noqa: BLE001  (somebody died meanwhile: the parent knows, and asks again)
            return Joined(command.epoch, f"{type(error).__name__}: {error}")
        return Joined(command.epoch)

    def _report(self) -> None:
        """Tell of every chunk and watched step when it is over, in their order, while the device has the next."""
        while True:
            report = self._reports.get()
            try:
                done = report.wait() if isinstance(report, Launched | LaunchedStep) else report
                _tell(self._connection, done)
            except Exception as error:  # noqa: BLE001  (the device is lost; the parent replaces this worker)
                _tell(self._connection, Died(f"{type(error).__name__} while a chunk was running: {error}"))
                return


def _tell(connection: Connection, report: Report) -> None:
    """A parent that is gone is `_listen`'s business."""
    try:
        connection.send_bytes(encode(report))
    except OSError:
        os._exit(0)
