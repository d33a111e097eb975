"""Workers that exist in a test alone: they say what the test wants, and keep what they are told."""

import queue

from tetriserve.engine.messages import Between, Command, Joined, Proceed, Ready, Regroup, Report, Setup


class ScriptedWorkers:
    """Implements transport.Transport. A launched worker is ready at once and makes every group that it is asked for.

    `on_launch` may give another first report, of the n-th start of a rank.
    """

    def __init__(self, num_ranks: int) -> None:
        self.sent: list[tuple[int, Command]] = []
        self.killed: list[int] = []
        self.num_launches = [0] * num_ranks
        self.pids: tuple[int, ...] = ()
        self._reports: queue.SimpleQueue[tuple[int, Report] | None] = queue.SimpleQueue()

    def first_report(self, rank: int, launch: int) -> Report:
        """What a worker says when it is started."""
        return Ready("cpu", "2.0")

    def on_regroup(self, rank: int, command: Regroup) -> Report | None:
        """What a worker says when it comes to a Regroup."""
        return Between(command.epoch)

    def say(self, rank: int, report: Report) -> None:
        self._reports.put((rank, report))

    def launch(self, setup: Setup) -> None:
        self.num_launches[setup.rank] += 1
        self.say(setup.rank, self.first_report(setup.rank, self.num_launches[setup.rank]))

    def send(self, rank: int, command: Command) -> None:
        self.sent.append((rank, command))
        if isinstance(command, Regroup):
            report = self.on_regroup(rank, command)
            if report is not None:
                self.say(rank, report)
        elif isinstance(command, Proceed) and command.go:
            self.say(rank, Joined(command.epoch))

    def receive(self, timeout_s: float) -> list[tuple[int, Report]]:
        try:
            report = self._reports.get(timeout=timeout_s)
        except queue.Empty:
            return []
        return [] if report is None else [report]

    def wake(self) -> None:
        self._reports.put(None)

    def kill(self, rank: int) -> None:
        self.killed.append(rank)

    def end(self) -> None: ...
