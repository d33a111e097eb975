"""A replica as its server sees it: processes that make one image at a time."""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess

from tetriserve.core.errors import EngineError
from tetriserve.engine.entry import PRELOAD_MODULE
from tetriserve.peers.job import Failed, Job, Made, ReplicaPlan
from tetriserve.peers.worker import work

HANG_S = 300.0
"""Longer than any image takes, compilation included: a rank that failed alone leaves the others waiting for ever."""


@dataclass(frozen=True, slots=True)
class Replica:
    """Ranks and the pipes to them. Methods block: call them from a thread."""

    processes: tuple[BaseProcess, ...]
    connections: tuple[Connection, ...]

    @classmethod
    def start(cls, plan: ReplicaPlan) -> "Replica":
        """Start the processes; `wait` for them."""
        context = _context(plan)
        processes: list[BaseProcess] = []
        connections: list[Connection] = []
        for rank in range(plan.degree):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, plan, rank), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            connections.append(ours)
        return cls(tuple(processes), tuple(connections))

    def wait(self, seconds: float) -> None:
        """Until all ranks have loaded. Raises EngineError."""
        for answer in self._hear(seconds):
            if isinstance(answer, Failed):
                raise EngineError(f"a worker could not start:\n{answer.message}")

    def make(self, job: Job) -> Made | Failed:
        """One image. Raises EngineError if a rank is gone or hangs: nothing more will come of this replica."""
        try:
            for connection in self.connections:
                connection.send(job)
        except OSError as error:
            raise EngineError(f"a worker is gone: {error}") from error
        answers = self._hear(HANG_S)
        failed = next((answer for answer in answers if isinstance(answer, Failed)), None)
        first = answers[0]
        assert failed is not None or isinstance(first, Made)
        return failed or first  # type: ignore[return-value]

    def stop(self) -> None:
        """End the processes."""
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            process.join(5)
            process.kill()

    def _hear(self, seconds: float) -> list[Made | Failed | None]:
        answers = []
        for connection in self.connections:
            try:
                if not connection.poll(seconds):
                    raise EngineError(f"a worker said nothing for {seconds:g} s")
                answers.append(connection.recv())
            except (EOFError, OSError) as error:
                raise EngineError("a worker ended; its output tells why") from error
        return answers


def _context(plan: ReplicaPlan) -> SpawnContext | ForkServerContext:
    """As of our own workers: CPU processes share one import of the libraries; on GPUs no fork may follow it."""
    if plan.devices[0] != "cpu":
        return SpawnContext()
    context = ForkServerContext()
    context.set_forkserver_preload([PRELOAD_MODULE])
    return context
