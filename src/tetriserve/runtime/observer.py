"""Those who look on: metrics, logs, traces, the gate. They are told; their errors break nothing here."""

from tetriserve.core.chunk import Chunk
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.runtime.records import ChunkState


class Observer:
    """Told of everything that a runtime does, on its thread. Override what you want to hear; don't take long."""

    def arrived(self, request: Request) -> None:
        """A request was accepted. Called in the context (contextvars) of whoever made it."""

    def chunk_ended(self, chunk: Chunk, state: ChunkState, begin_s: float, end_s: float) -> None:
        """A chunk ended so or so. Called before the end of its requests; times are on the runtime's clock."""

    def ended(self, outcome: Outcome) -> None:
        """A request ended."""

    def decided(self, seconds: float) -> None:
        """The scheduler has looked at who waits for what, and that took so long."""
