"""A good end: nothing new is taken, what runs may finish for a while, jobs that don't are left to the next server."""

from collections.abc import Callable

from tetriserve.server.context import Context


class ContextDrain:
    """The drain of an application's calls and jobs. `tell` is told what goes on."""

    def __init__(self, context: Context, tell: Callable[[str], None]) -> None:
        self.grace_s = context.config.grace_s
        self._context = context
        self._tell = tell

    @property
    def is_idle(self) -> bool:
        """Whether every call and job that was let in is over or given up."""
        return self._context.gate.num_held == 0

    def begin(self) -> None:
        """Close the gate. Jobs that have not begun don't begin: their devices go to calls that somebody waits for."""
        self._context.gate.close()
        self._context.jobs.suspend(running=False)
        if not self.is_idle:
            num_held = self._context.gate.num_held
            self._tell(f"Ending: {num_held} images have {self.grace_s:g} s to finish. Ctrl-C again ends at once.")

    def give_up(self) -> None:
        """Jobs are left to the next server; calls are answered that the server ends."""
        self._context.jobs.suspend(running=True)
        if not self.is_idle:
            self._context.service.runtime.fail("the server is shutting down")
