"""Carries events from the executor's threads into the event loop."""

import asyncio
from collections.abc import Callable

from tetriserve.core.events import Event


class Mailbox:
    """Delivers each posted event to `listener`, on the loop's thread, in the order of posting.

    The listener may be replaced: the profiler listens first, the runtime afterwards.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.listener: Callable[[Event], None] | None = None

    def post(self, event: Event) -> None:
        """Thread-safe. An event that comes after the loop has ended is dropped."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, event)

    def _deliver(self, event: Event) -> None:
        if self.listener is not None:
            self.listener(event)
