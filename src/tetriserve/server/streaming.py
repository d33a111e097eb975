"""A call answered as server-sent events: progress, partial images, images."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tetriserve.core.errors import TetriServeError
from tetriserve.core.request import Request
from tetriserve.runtime.image_file import encode_base64
from tetriserve.runtime.runtime import Progress
from tetriserve.runtime.service import Service
from tetriserve.server.answers import Finished, finish, report
from tetriserve.server.call import Call
from tetriserve.server.disconnect import ClientGoneError, unless_gone
from tetriserve.server.errors import error_of
from tetriserve.server.wire.errors import ErrorResponse
from tetriserve.server.wire.events import CompletedEvent, PartialImageEvent, ProgressEvent

logger = logging.getLogger(__name__)

KEEP_ALIVE_S = 15.0
"""Proxies close connections on which nothing comes; a comment keeps them open."""

News = Progress | Finished | TetriServeError


class EventStream(Response):
    """An answer of server-sent events. The work behind it is cancelled when the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], headers: dict[str, str], on_close: Callable[[], None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"} | headers)
        del self.headers["content-length"]
        self._events = events
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await unless_gone(receive, self._pump(send))
        except ClientGoneError:
            return
        finally:
            await self._events.aclose()
            self._on_close()

    async def _pump(self, send: Send) -> None:
        async for event in self._events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass(slots=True)
class _Image:
    """One of a call's images on its way."""

    index: int
    num_partials: int = 0


async def call_events(service: Service, call: Call) -> AsyncGenerator[bytes]:
    """All events of a call. An error ends the stream with an event `error` in OpenAI's shape."""
    news: asyncio.Queue[tuple[_Image, News]] = asyncio.Queue()
    requests = call.requests()
    tasks = [asyncio.ensure_future(_run(service, call, one, _Image(i), news)) for i, one in enumerate(requests)]
    try:
        num_left = len(requests)
        while num_left:
            try:
                image, what = await asyncio.wait_for(news.get(), KEEP_ALIVE_S)
            except TimeoutError:
                yield b": still at work\n\n"
                continue
            if isinstance(what, TetriServeError):
                yield _event("error", ErrorResponse(error=error_of(what)[1]))
                return
            num_left -= isinstance(what, Finished)
            async for event in _events(call, image, what):
                yield _event(event.type, event)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run(
    service: Service, call: Call, request: Request, image: _Image, news: asyncio.Queue[tuple[_Image, News]]
) -> None:
    try:
        found: News = await finish(service, call, request, lambda progress: news.put_nowait((image, progress)))
    except TetriServeError as error:
        found = error
    news.put_nowait((image, found))


async def _events(
    call: Call, image: _Image, what: Progress | Finished
) -> AsyncIterator[ProgressEvent | PartialImageEvent | CompletedEvent]:
    if isinstance(what, Finished):
        yield CompletedEvent(
            b64_json=what.b64_json,
            created_at=int(time.time()),
            size=str(call.params.size),
            quality=call.quality,
            output_format=call.file_format.name,
            image_index=image.index,
            tetriserve=report(call, [what]),
        )
        return
    yield ProgressEvent(
        image_index=image.index,
        request_id=what.request.request_id,
        num_steps_done=what.num_steps_done,
        num_inference_steps=call.params.num_inference_steps,
    )
    if what.preview is not None:
        index, image.num_partials = image.num_partials, image.num_partials + 1
        yield PartialImageEvent(
            b64_json=await asyncio.to_thread(encode_base64, what.preview, call.file_format, call.params.size),
            created_at=int(time.time()),
            size=str(call.params.size),
            quality=call.quality,
            output_format=call.file_format.name,
            image_index=image.index,
            partial_image_index=index,
        )


def _event(name: str, data: BaseModel) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data.model_dump_json(exclude_none=True).encode())
