"""A call answered as server-sent events: progress, partial images, images."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tetriserve.core.errors import RequestFailedError, TetriServeError
from tetriserve.core.image import Image
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

Message = ProgressEvent | PartialImageEvent | CompletedEvent | TetriServeError


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


async def call_events(service: Service, call: Call) -> AsyncGenerator[bytes]:
    """All events of a call. An error ends the stream with an event `error` in OpenAI's shape."""
    news: asyncio.Queue[Message] = asyncio.Queue()
    images = [_Image(call, request, index, news) for index, request in enumerate(call.requests())]
    tasks = [asyncio.ensure_future(image.run(service)) for image in images]
    try:
        num_left = len(images)
        while num_left:
            try:
                what = await asyncio.wait_for(news.get(), KEEP_ALIVE_S)
            except TimeoutError:
                yield b": still at work\n\n"
                continue
            if isinstance(what, TetriServeError):
                yield _event("error", ErrorResponse(error=error_of(what)[1]))
                return
            num_left -= isinstance(what, CompletedEvent)
            yield _event(what.type, what)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Image:
    """One of a call's images on its way. Nothing waits for a partial image but the next one, and the image itself."""

    def __init__(self, call: Call, request: Request, index: int, news: asyncio.Queue[Message]) -> None:
        self._call = call
        self._request = request
        self._index = index
        self._news = news
        self._partials: list[asyncio.Task[None]] = []
        self._one_at_a_time = asyncio.Lock()

    async def run(self, service: Service) -> None:
        """Until the image, or the error in its place, is told."""
        try:
            finished = await finish(service, self._call, self._request, self._watch)
            await asyncio.gather(*self._partials)
            self._news.put_nowait(self._completed(finished))
        except TetriServeError as error:
            self._news.put_nowait(error)
        except Exception as error:
            logger.exception("%s: no event could be made", self._request.request_id)
            self._news.put_nowait(RequestFailedError(f"no file could be made of it: {error!r}"))
        finally:
            for partial in self._partials:
                partial.cancel()

    def _watch(self, progress: Progress) -> None:
        self._news.put_nowait(
            ProgressEvent(
                image_index=self._index,
                request_id=progress.request.request_id,
                num_steps_done=progress.num_steps_done,
                num_inference_steps=self._call.params.num_inference_steps,
            )
        )
        if progress.preview is not None:
            partial = self._make_partial(progress.preview, len(self._partials))
            self._partials.append(asyncio.ensure_future(partial))

    async def _make_partial(self, preview: Image, index: int) -> None:
        """Enlarging a picture and making a file of it takes longer than many a step."""
        async with self._one_at_a_time:
            b64_json = await asyncio.to_thread(encode_base64, preview, self._call.file_format, self._call.params.size)
        self._news.put_nowait(PartialImageEvent(**self._described(b64_json), partial_image_index=index))

    def _completed(self, finished: Finished) -> CompletedEvent:
        described = self._described(finished.b64_json)
        return CompletedEvent(**described, tetriserve=report(self._call, [finished]))

    def _described(self, b64_json: str) -> dict[str, Any]:
        """What both events with an image have."""
        call = self._call
        return {
            "b64_json": b64_json,
            "created_at": int(time.time()),
            "size": str(call.params.size),
            "quality": call.quality,
            "output_format": call.file_format.name,
            "image_index": self._index,
        }


def _event(name: str, data: BaseModel) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data.model_dump_json(exclude_none=True).encode())
