"""Carries news from the executor's threads into the event loop."""

import asyncio
from collections.abc import Callable

from tetriserve.core.events import News


class Mailbox:
    """Delivers each posted piece of news to `listener`, on the loop's thread, in the order of posting.

    The listener may be replaced: the profiler listens first, the runtime afterwards.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.listener: Callable[[News], None] | None = None

    def post(self, news: News) -> None:
        """Thread-safe. What comes after the loop has ended is dropped."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, news)

    def _deliver(self, news: News) -> None:
        if self.listener is not None:
            self.listener(news)
