"""The described API and a server to call it on, for schemathesis."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from server.sleeping import fast_cost, make_service, sleeping_server
from tetriserve.server.app import create_app
from tetriserve.server.config import ServerConfig

TIMEOUT_S = 20.0
NOT_THERE_YET = ["/v1/images/edits", "/v1/images/variations"]
"""These say 501, which is a server error on purpose."""
ENDLESS = ["/v1/board/events"]
"""A caller that waits for the end of the answer waits for ever."""


def described() -> dict[str, Any]:
    """The description that the server gives of itself."""
    return create_app(make_service()[0]).openapi()


schema = schemathesis.openapi.from_dict(described()).exclude(path=NOT_THERE_YET + ENDLESS)


def check_call(case: schemathesis.Case, url: str) -> None:
    """Raises what schemathesis has against the answer, or what kept the answer from coming."""
    response = case.call(base_url=url, timeout=TIMEOUT_S)
    case.validate_response(response, checks=(not_a_server_error, status_code_conformance, response_schema_conformance))


@contextmanager
def server_in_a_thread() -> Iterator[str]:
    """Schemathesis calls from this thread, so the server's event loop is another's."""
    ready, done, urls = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with sleeping_server(ServerConfig(), cost=fast_cost(2, 1000.0)) as server:
            urls.append(server.url)
            ready.set()
            while not done.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    yield urls[0]
    done.set()
    thread.join(20)
