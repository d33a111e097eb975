"""Refuses bodies that no valid request needs, before they are read."""

from starlette.types import ASGIApp, Receive, Scope, Send

from tetriserve.server.errors import error_response
from tetriserve.server.wire.errors import ErrorBody

MAX_BODY_BYTES = 1 << 20
"""Two prompts of 32,000 characters, each escaped to six bytes or more, fit."""


UNREAD_PATHS = frozenset({"/v1/images/edits", "/v1/images/variations"})
"""These answer without a look at the body, which would be an image."""


class BodyLimit:
    """ASGI middleware: 413 for a body over the limit, 411 for one that doesn't say how long it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through or answer it."""
        if scope["type"] != "http" or scope["path"] in UNREAD_PATHS:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if b"transfer-encoding" in headers:
            message, status, code = "the body must come with a Content-Length", 411, "length_required"
        elif int(length) > MAX_BODY_BYTES:
            message = f"the body has {int(length):,} bytes; at most {MAX_BODY_BYTES:,} are taken"
            status, code = 413, "body_too_large"
        else:
            await self._app(scope, receive, send)
            return
        body = ErrorBody(message=message, type="invalid_request_error", code=code)
        await error_response(status, body, {"connection": "close"})(scope, receive, send)
