"""Headers that every answer gets, so that a browser does nothing with it that nobody meant."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
OF_THE_API = [
    *ALWAYS,
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""Not of the pages, which have their own."""
API = ("/v1/", "/debug/")


class SafeHeaders:
    """ASGI middleware: adds what an answer has not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and dress its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        wanted = OF_THE_API if scope["path"].startswith(API) else ALWAYS

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message["headers"]
                names = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(header for header in wanted if header[0] not in names)]
            await send(message)

        await self._app(scope, receive, dressed)
