"""The minutes that a call may take."""

import time
from dataclasses import dataclass, field

STOP_S = 15.0
"""Kept back for ending a server."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Begins when it is made; without `minutes` it never ends."""

    minutes: float | None = None
    begin_s: float = field(default_factory=time.monotonic)

    @property
    def used_s(self) -> float:
        """Since it was made."""
        return time.monotonic() - self.begin_s

    @property
    def left_s(self) -> float:
        """For whatever is begun now, its server's end not included."""
        return float("inf") if self.minutes is None else 60 * self.minutes - self.used_s - STOP_S

    @property
    def limit_s(self) -> float | None:
        """The same, as `asyncio.timeout` takes it."""
        return None if self.minutes is None else self.left_s
