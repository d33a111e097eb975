"""One generation of worker processes, seen from the parent: pipes, and who is alive."""

import multiprocessing.connection
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from tetriserve.engine.entry import PRELOAD_MODULE, main
from tetriserve.engine.messages import Command, Report, Setup, receive_report, send

END_PATIENCE_S = 0.5


class WorkerLostError(Exception):
    """A worker died or reported that it can't go on. Stays inside the engine."""


class Workers:
    """The processes of one generation, in rank order."""

    def __init__(self) -> None:
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []
        self.are_ready = False

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids, in rank order."""
        return tuple(process.pid for process in self._processes if process.pid is not None)

    def launch(self, setups: Sequence[Setup]) -> None:
        """Start one process for each setup: forks of a process that has torch imported, where that is possible.

        CUDA can't be used in a fork of a process that has asked for it, and importing diffusers asks for it.

        Raises WorkerLostError if the fork server is gone; the next launch starts another.
        """
        uses_cuda = any(device != "cpu" for setup in setups for device in setup.devices)
        context: SpawnContext | ForkServerContext = SpawnContext() if uses_cuda else ForkServerContext()
        context.set_forkserver_preload([PRELOAD_MODULE])
        for setup in setups:
            ours, theirs = context.Pipe()
            process = context.Process(target=main, args=(theirs,), name=f"tetriserve-{setup.rank}", daemon=True)
            self._connections.append(ours)
            try:
                process.start()
            except (EOFError, OSError) as error:
                raise WorkerLostError(f"worker {setup.rank} could not be started: {error!r}") from error
            finally:
                theirs.close()
            self._processes.append(process)
            self.send(setup.rank, setup)

    def send(self, rank: int, command: Command) -> None:
        """Queue a command at a worker. If it is dead, `receive` tells."""
        try:
            send(self._connections[rank], command)
        except OSError:
            return

    def receive(self, wake: Connection) -> list[tuple[int, Report]]:
        """Wait for reports, or for `wake` to become readable. Raises WorkerLostError if a worker is dead."""
        sentinels = {process.sentinel: rank for rank, process in enumerate(self._processes)}
        ready = multiprocessing.connection.wait([wake, *self._connections, *sentinels])
        reports = [(rank, self._receive_from(rank)) for rank, conn in enumerate(self._connections) if conn in ready]
        for sentinel, rank in sentinels.items():
            if not reports and sentinel in ready:
                raise self._lost(rank)
        return reports

    def end(self) -> None:
        """End all processes: a worker leaves when its pipe closes, and is killed if it can't listen."""
        for connection in self._connections:
            connection.close()
        deadline_s = time.monotonic() + END_PATIENCE_S
        for process in self._processes:
            process.join(max(0.0, deadline_s - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()

    def _receive_from(self, rank: int) -> Report:
        try:
            return receive_report(self._connections[rank])
        except (EOFError, OSError):
            raise self._lost(rank) from None

    def _lost(self, rank: int) -> WorkerLostError:
        self._processes[rank].join(END_PATIENCE_S)
        code = self._processes[rank].exitcode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        return WorkerLostError(f"worker {rank} {how}")
