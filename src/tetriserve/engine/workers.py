"""Worker processes on this machine: the Transport over pipes."""

import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import ModuleType

from tetriserve.engine.channel import Channel
from tetriserve.engine.entry import PRELOAD_MODULE, main
from tetriserve.engine.messages import Command, Died, Report, Setup, decode_report, encode

END_PATIENCE_S = 0.5


class Workers:
    """One process for each rank. Implements transport.Transport."""

    def __init__(self, num_ranks: int) -> None:
        self._processes: list[BaseProcess | None] = [None] * num_ranks
        self._channels: list[Channel | None] = [None] * num_ranks
        self._stillborn: list[tuple[int, Report]] = []
        self._bell, self._ringer = Pipe(duplex=False)

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids by rank."""
        return tuple(process.pid for process in self._processes if process is not None and process.pid is not None)

    def launch(self, setup: Setup) -> None:
        """A fork of a process that has torch imported, where that is possible.

        CUDA can't be used in a fork of a process that has asked for it, and importing diffusers asks for it.
        """
        uses_cuda = any(device != "cpu" for device in setup.devices)
        context: SpawnContext | ForkServerContext = SpawnContext() if uses_cuda else ForkServerContext()
        context.set_forkserver_preload([PRELOAD_MODULE])
        ours, theirs = context.Pipe()
        process = context.Process(target=main, args=(theirs,), name=f"tetriserve-{setup.rank}", daemon=True)
        try:
            with _without_main():
                process.start()
        except (EOFError, OSError) as error:  # the fork server is gone; the next launch starts another
            ours.close()
            self._stillborn.append((setup.rank, Died(f"could not be started: {error!r}")))
            return
        finally:
            theirs.close()
        self._processes[setup.rank] = process
        self._channels[setup.rank] = Channel(ours)
        self.send(setup.rank, setup)

    def send(self, rank: int, command: Command) -> None:
        """Queue a command at a worker."""
        channel = self._channels[rank]
        if channel is None:
            return
        try:
            channel.send(encode(command))
        except OSError:
            return  # `receive` tells
        if channel.has_unsent:
            self.wake()

    def wake(self) -> None:
        """Let `receive` return."""
        self._ringer.send_bytes(b"")

    def receive(self, timeout_s: float) -> list[tuple[int, Report]]:
        """Reports of all ranks that have something to say."""
        if self._stillborn:
            reports, self._stillborn = self._stillborn, []
            return reports
        poll = select.poll()
        poll.register(self._bell.fileno(), select.POLLIN)
        ranks = {}
        for rank, channel in enumerate(self._channels):
            if channel is not None:
                ranks[channel.fileno()] = rank
                poll.register(channel.fileno(), select.POLLIN | (select.POLLOUT if channel.has_unsent else 0))
        events = [(ranks[fileno], event) for fileno, event in poll.poll(timeout_s * 1e3) if fileno in ranks]
        while self._bell.poll():
            self._bell.recv_bytes()
        return [(rank, report) for rank, event in sorted(events) for report in self._reports(rank, event)]

    def kill(self, rank: int) -> None:
        """SIGKILL reaches stopped processes too."""
        process, channel = self._processes[rank], self._channels[rank]
        if channel is not None:
            self._channels[rank] = None
            channel.close()
        if process is not None and process.is_alive():
            process.kill()
            process.join()

    def end(self) -> None:
        """A worker leaves when its pipe closes, and is killed if it can't listen."""
        for channel in self._channels:
            if channel is not None:
                channel.close()
        deadline_s = time.monotonic() + END_PATIENCE_S
        for process in self._processes:
            if process is not None:
                process.join(max(0.0, deadline_s - time.monotonic()))
                if process.exitcode is None:
                    process.kill()
                    process.join()

    def _reports(self, rank: int, event: int) -> Iterator[Report]:
        channel = self._channels[rank]
        assert channel is not None
        try:
            if event & ~select.POLLOUT:
                yield from map(decode_report, channel.receive())
            if event & select.POLLOUT:
                channel.flush()
        except (EOFError, OSError):
            yield Died(self._how_it_died(rank))
            self.kill(rank)

    def _how_it_died(self, rank: int) -> str:
        process = self._processes[rank]
        assert process is not None
        process.join(END_PATIENCE_S)
        code = process.exitcode
        return f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"


@contextmanager
def _without_main() -> Iterator[None]:
    """Workers need nothing of the program's main module, which multiprocessing would import in each of them.

    A script that makes a Pipeline, without asking whether it is `__main__`, would then make another there.
    """
    ours, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = ours
