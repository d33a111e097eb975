"""Refuses bodies that no valid request needs, before they are read, and more of them than there is memory for."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tetriserve.server.errors import error_response
from tetriserve.server.wire.errors import ErrorBody

MAX_BODY_BYTES = 1 << 20
"""Two prompts of 32,000 characters, each escaped to six bytes or more, fit."""
MAX_OPEN_BYTES = 64 << 20
"""Of all requests that are not answered yet. A usual body has some hundred bytes, so this is as good as none."""
BODY_S = 30.0
"""Whoever takes longer to send a body does not keep its place."""

UNREAD_PATHS = frozenset({"/v1/images/edits", "/v1/images/variations"})
"""These answer without a look at the body, which would be an image."""


class BodyLimit:
    """ASGI middleware: 413 for a body over the limit, 411 for one that doesn't say how long it is.

    429 while the bodies of all open requests would take more than `max_open_bytes`, 408 for one that doesn't come.
    """

    def __init__(self, app: ASGIApp, max_open_bytes: int = MAX_OPEN_BYTES, body_s: float = BODY_S) -> None:
        self._app = app
        self._max_open_bytes = max_open_bytes
        self._body_s = body_s
        self._open_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through or answer it."""
        if scope["type"] != "http" or scope["path"] in UNREAD_PATHS:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = int(headers.get(b"content-length", b"0"))
        if b"transfer-encoding" in headers:
            await _refuse(scope, receive, send, 411, "length_required", "the body must come with a Content-Length")
        elif length > MAX_BODY_BYTES:
            message = f"the body has {length:,} bytes; at most {MAX_BODY_BYTES:,} are taken"
            await _refuse(scope, receive, send, 413, "body_too_large", message)
        elif self._open_bytes + length > self._max_open_bytes:
            message = f"open requests have {self._open_bytes:,} bytes; at most {self._max_open_bytes:,} are taken"
            await _refuse(scope, receive, send, 429, "too_many_bytes", message)
        else:
            self._open_bytes += length
            try:
                await self._through(scope, receive, send, length)
            finally:
                self._open_bytes -= length

    async def _through(self, scope: Scope, receive: Receive, send: Send, length: int) -> None:
        try:
            async with asyncio.timeout(self._body_s if length else None) as limit:

                async def watched() -> Message:
                    message = await receive()
                    if not message.get("more_body", False):
                        limit.reschedule(None)
                    return message

                await self._app(scope, watched, send)
        except TimeoutError:
            if not limit.expired():
                raise
            message = f"the body of {length:,} bytes did not come within {self._body_s:g} s"
            await _refuse(scope, receive, send, 408, "body_too_slow", message)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, code: str, message: str) -> None:
    """The connection is closed: what it still brings is the body."""
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    headers = {"connection": "close"} | ({"Retry-After": "1"} if status == 429 else {})
    body = ErrorBody(message=message, type=kind, code=code)
    await error_response(status, body, headers)(scope, receive, send)
