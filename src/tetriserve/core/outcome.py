"""How a request ended: what users, metrics and simulations read."""

from dataclasses import dataclass

from tetriserve.core.request import Request

CANCELLED = "cancelled"
"""The error code of a request that its caller gave up: neither an image nor a failure."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one request.

    `queue_s` runs from arrival to the start of its first chunk. `gpu_seconds` sums seconds x devices over its
    chunks (a batch's share is divided equally). `degrees[i]` is the degree of sequence parallelism of step i.
    `error` is None when there is an image.
    """

    request: Request
    finished_s: float
    queue_s: float
    gpu_seconds: float
    degrees: tuple[int, ...]
    error_code: str | None = None
    error: str | None = None

    @property
    def latency_s(self) -> float:
        """Arrival to image."""
        return self.finished_s - self.request.arrival_s

    @property
    def cancelled(self) -> bool:
        """Whether its caller gave it up before there was an image."""
        return self.error_code == CANCELLED

    @property
    def word(self) -> str:
        """How it ended, for metrics and logs: met, late, failed or cancelled."""
        if self.cancelled:
            return "cancelled"
        if self.error is not None:
            return "failed"
        return "met" if self.met_deadline else "late"

    @property
    def met_deadline(self) -> bool:
        """Whether there is an image, early enough to be delivered by the deadline."""
        return self.error is None and self.finished_s <= self.request.due_s
