"""`/v1/board`: what is on the devices, once or as a stream; `/debug/trace`: the same as a file for Perfetto.

No row has a prompt, an image, an address of one, or the name of a caller: who knows a key may see how everybody's
requests are served, and of what is made only its own.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tetriserve.runtime.recorder import KEEP_S
from tetriserve.runtime.records import Records
from tetriserve.runtime.service import Service
from tetriserve.runtime.trace import trace
from tetriserve.server.context import Context
from tetriserve.server.errors import RejectedError, failures
from tetriserve.server.listen import is_stopping
from tetriserve.server.streaming import EventStream
from tetriserve.server.wire.board import BoardView

BOARD_PATH = "/v1/board"
MAX_WATCHERS = 64
LOOK_EVERY_S = 0.1
QUIET_S = 2.0
"""Even if nothing changes, whoever looks is told the time, and proxies see that the connection lives."""

Seconds = Annotated[float, Query(gt=0, le=KEEP_S, allow_inf_nan=False, description="How far back.")]
EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `board`: first a snapshot, then deltas, for as long as the connection lives.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **failures(400, 401, 429),
}


def board_routes(context: Context) -> APIRouter:
    """The routes of those who look on."""
    router = APIRouter(tags=["board"])
    service = context.service
    watchers: set[object] = set()

    @router.get(BOARD_PATH, response_class=Response, responses={200: {"model": BoardView}, **failures(400, 401)})
    async def board(seconds: Seconds = 60.0) -> Response:
        """What was on the devices in the last seconds, and what is planned."""
        return _json(_view(service, "snapshot", _look(service, seconds)))

    @router.get(f"{BOARD_PATH}/events", response_class=Response, responses=EVENTS)
    async def events(request: Request, seconds: Seconds = 60.0) -> Response:
        """The same, kept up to date."""
        if len(watchers) >= MAX_WATCHERS:
            raise RejectedError(f"{MAX_WATCHERS} others are looking at the board already", "board_full")
        watcher = object()
        watchers.add(watcher)
        stream = board_events(service, seconds, lambda: is_stopping(request.app))
        return EventStream(stream, {}, lambda: watchers.discard(watcher))

    @router.get("/debug/trace", response_class=Response, responses={**failures(400, 401)})
    async def debug_trace(seconds: Seconds = KEEP_S) -> Response:
        """The last minutes as Chrome trace events: save them and open them at ui.perfetto.dev."""
        # Off the event loop: it may be a hundred thousand events.
        return await asyncio.to_thread(_trace_file, _look(service, seconds), service.runtime.executor.num_devices)

    return router


async def board_events(service: Service, seconds: float, stopping: Callable[[], bool]) -> AsyncGenerator[bytes]:
    """A snapshot, then what has changed since. Ends when the server does."""
    records = _look(service, seconds)
    view = _view(service, "snapshot", records)
    yield _event(view)
    while view.failure is None:
        await _news(service, records.revision, stopping)
        if stopping():
            return
        records = _look(service, seconds, records.revision)
        view = _view(service, "delta", records)
        yield _event(view)


async def _news(service: Service, revision: int, stopping: Callable[[], bool]) -> None:
    """Wait until there is something to tell; many changes are told at once."""
    runtime = service.runtime
    quiet_until_s = runtime.now_s() + QUIET_S
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        changed = runtime.recorder.revision > revision or runtime.failure is not None
        if changed or stopping() or runtime.now_s() > quiet_until_s:
            return


def _look(service: Service, seconds: float, after: int = 0) -> Records:
    return service.runtime.recorder.look(service.runtime.now_s(), seconds, after)


def _view(service: Service, kind: Literal["snapshot", "delta"], records: Records) -> BoardView:
    runtime = service.runtime
    return BoardView(
        kind,
        records.now_s,
        runtime.executor.num_devices,
        service.policy,
        runtime.failure,
        records.requests,
        records.chunks,
    )


def _event(view: BoardView) -> bytes:
    return b"event: board\ndata: %s\n\n" % msgspec.json.encode(view)


def _trace_file(records: Records, num_devices: int) -> Response:
    headers = {"Content-Disposition": 'attachment; filename="tetriserve-trace.json"'}
    return _json(trace(records, num_devices), headers)


def _json(shape: object, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(shape), headers=headers, media_type="application/json")
