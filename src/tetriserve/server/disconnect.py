"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client has closed its connection. There is nobody to tell."""


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client goes away first; then raises ClientGoneError.

    The request's body must have been read.
    """
    until = asyncio.timeout(None)
    watch = asyncio.ensure_future(_watch(receive, until))
    try:
        async with until:
            return await work
    except TimeoutError:
        if until.expired():
            raise ClientGoneError from None
        raise
    finally:
        watch.cancel()


async def _watch(receive: Receive, until: asyncio.Timeout) -> None:
    """Let the time be over when the client is gone, which cancels the work where it runs, without a task of its own."""
    while (await receive())["type"] != "http.disconnect":
        pass
    until.reschedule(asyncio.get_running_loop().time())
