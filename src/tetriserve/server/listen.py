"""Listening: the socket, uvicorn, and a clean end on SIGINT and SIGTERM."""

import asyncio
import atexit
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Protocol

import uvicorn
from fastapi import FastAPI

from tetriserve.core.errors import ConfigurationError

KEEP_ALIVE_S = 75
"""Seconds that an idle connection stays open: longer than most proxies', so that they close it, not we."""
ANSWER_S = 2
"""Seconds for the last answers, which are made at once for those that have not finished."""
LOOK_S = 0.05
"""How often an ending server looks whether it is idle."""
GARBAGE_THRESHOLDS = (10_000, 20, 20)
"""The youngest generation is collected after so many new objects, each older one after so many of the one before."""


class Drain(Protocol):
    """How what is served is brought to an end, within `grace_s`."""

    grace_s: float

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be waited for."""
        ...

    def begin(self) -> None:
        """Take nothing new."""
        ...

    def give_up(self) -> None:
        """Answer whoever still waits."""
        ...


class _Server(uvicorn.Server):
    """uvicorn, save that a signal ends `serve` normally instead of being raised again afterwards.

    After the first signal it still answers, for the time of the drain; a second one ends it at once.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain: Drain | None) -> None:
        super().__init__(config)
        self._app = app
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Take no more connections; those who only look on are sent away, requests may finish."""
        self.should_exit = True
        self._app.state.stopping = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain is None or self.should_exit:
            self.should_exit = self.force_exit = True
        elif self._draining is None:
            self._draining = asyncio.ensure_future(self._end(self._drain))
        else:
            self._draining.cancel()
            self._give_up(self._drain)

    async def _end(self, drain: Drain) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + drain.grace_s
        drain.begin()
        while not drain.is_idle and loop.time() < end_s:
            await asyncio.sleep(LOOK_S)
        # What is left of the time is for answers on slow connections.
        self.config.timeout_graceful_shutdown = ANSWER_S + max(0, int(end_s - loop.time()))
        self._give_up(drain)

    def _give_up(self, drain: Drain) -> None:
        drain.give_up()
        self.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Raises ConfigurationError."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error}; choose another --host or --port"
        ) from error


def is_stopping(app: FastAPI) -> bool:
    """Whether the server of this application is about to end: what has no end of its own must end now."""
    return bool(getattr(app.state, "stopping", False))


def base_url(listener: socket.socket) -> str:
    """Where the socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_until_signal(
    app: FastAPI, listener: socket.socket, on_started: Callable[[], None], drain: Drain
) -> None:
    """Serve until SIGINT or SIGTERM, and then until drained."""
    server = _server(app, drain)
    task = await _started(server, listener)
    keep_pauses_short()
    on_started()
    await task


def keep_pauses_short() -> None:
    """Garbage collection, for the whole process: never looks through what has been loaded, and comes less often."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # as in `engine.preload`
    gc.set_threshold(*GARBAGE_THRESHOLDS)


@contextlib.asynccontextmanager
async def serving_in_background(app: FastAPI, listener: socket.socket) -> AsyncIterator[None]:
    """Serve while the body runs."""
    server = _server(app)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = await _started(server, listener)
    try:
        yield
    finally:
        server.stop()
        await task


async def _started(server: _Server, listener: socket.socket) -> asyncio.Task[None]:
    """The task of a server that answers, and that signals reach."""
    task = asyncio.create_task(server.serve([listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    return task


def _server(app: FastAPI, drain: Drain | None = None) -> _Server:
    # The application's life is the caller's, so uvicorn runs no lifespan; the application logs what goes wrong.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=ANSWER_S,
    )
    return _Server(config, app, drain)
