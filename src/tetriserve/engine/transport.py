"""How the parent reaches its workers, wherever they run."""

from collections.abc import Callable
from typing import Protocol

from tetriserve.engine.messages import Command, Report, Setup


class Transport(Protocol):
    """Workers by rank. `send` and `wake` may be called on any thread, all else on the supervisor's."""

    def launch(self, setup: Setup) -> None:
        """Begin to start a worker, in the place of one that has died. How that ends comes as a report."""
        ...

    def send(self, rank: int, command: Command) -> None:
        """Queue a command at a worker and return at once. If it is dead, a Died tells."""
        ...

    def receive(self, timeout_s: float) -> list[tuple[int, Report]]:
        """Wait for reports, for a `wake`, or for some time. A death is a report like others, and the last.

        A rank that has died is silent until it is launched again.
        """
        ...

    def wake(self) -> None:
        """Let `receive` return at once, on whatever thread it is."""
        ...

    def kill(self, rank: int) -> None:
        """End a worker at once, whatever it does; nothing more is heard of it."""
        ...

    def end(self) -> None:
        """End all workers."""
        ...

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids by rank, of those that are gone too; for who looks after processes on this machine."""
        ...


MakeTransport = Callable[[int], Transport]
"""For a number of ranks."""
