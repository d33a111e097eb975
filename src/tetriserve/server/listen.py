"""Listening: the socket, uvicorn, and a clean end on SIGINT and SIGTERM."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tetriserve.core.errors import ConfigurationError

KEEP_ALIVE_S = 75
"""Seconds that an idle connection stays open: longer than most proxies', so that they close it, not we."""
GRACE_S = 5
"""Seconds that requests in flight have to finish after a signal."""
ANSWER_S = 2
"""Seconds for the answers to those that have not."""


class _Server(uvicorn.Server):
    """uvicorn, save that a signal ends `serve` normally instead of being raised again afterwards.

    `on_grace_over` is called when the grace period has passed and requests are still in flight.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, on_grace_over: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._on_grace_over = on_grace_over

    def stop(self) -> None:
        """Take no more connections; those who only look on are sent away, requests may finish."""
        self.should_exit = True
        self._app.state.stopping = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.stop()
        asyncio.get_running_loop().call_later(GRACE_S, self._on_grace_over)

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
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error}; choose another --port") from error


def is_stopping(app: FastAPI) -> bool:
    """Whether the server of this application is about to end: what has no end of its own must end now."""
    return bool(getattr(app.state, "stopping", False))


def base_url(listener: socket.socket) -> str:
    """Where the socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_until_signal(
    app: FastAPI, listener: socket.socket, on_started: Callable[[], None], on_grace_over: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM; what has not finished when the grace period is over is for `on_grace_over`."""
    server = _server(app, on_grace_over)
    task = await _started(server, listener)
    on_started()
    await task


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


def _server(app: FastAPI, on_grace_over: Callable[[], None] = lambda: None) -> _Server:
    # The application's life is the caller's, so uvicorn runs no lifespan; the application logs what goes wrong.
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S + ANSWER_S,
    )
    return _Server(config, app, on_grace_over)
