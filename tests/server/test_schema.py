"""The described API against the real one: whatever is sent within or beside the description, nothing breaks."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from server.sleeping import fast_cost, make_service, sleeping_server
from tetriserve.server.app import create_app
from tetriserve.server.config import ServerConfig

TIMEOUT_S = 20.0
NUM_CALLS = int(os.environ.get("SCHEMA_EXAMPLES", "12"))
"""Of every route; `scripts/fuzz` wants more."""
NOT_THERE_YET = ["/v1/images/edits", "/v1/images/variations"]
"""These say 501, which is a server error on purpose."""
ENDLESS = ["/v1/board/events"]
"""A caller that waits for the end of the answer waits for ever."""

schema = schemathesis.openapi.from_dict(create_app(make_service()[0]).openapi()).exclude(path=NOT_THERE_YET + ENDLESS)


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


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server_in_a_thread() as found:
        yield found


@schema.parametrize()
@settings(
    max_examples=NUM_CALLS,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_no_call_breaks_the_server_or_hangs(case: schemathesis.Case, url: str) -> None:
    response = case.call(base_url=url, timeout=TIMEOUT_S)
    case.validate_response(response, checks=(not_a_server_error, status_code_conformance, response_schema_conformance))


def test_every_route_of_the_api_is_described_with_its_errors() -> None:
    described = create_app(make_service()[0]).openapi()
    assert set(described["paths"]) == {
        "/health",
        "/metrics",
        "/debug/trace",
        "/v1/board",
        "/v1/board/events",
        "/v1/models",
        "/v1/models/{name}",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/images/jobs",
        "/v1/images/jobs/{job_id}",
        "/v1/images/jobs/{job_id}/result",
        "/v1/images/files/{token}",
    }
    post = described["paths"]["/v1/images/generations"]["post"]
    assert set(post["responses"]) >= {"200", "202", "400", "401", "429", "500", "503"}
    assert "text/event-stream" in post["responses"]["200"]["content"]
    examples = described["components"]["schemas"]["ImagesRequest"]["examples"]
    assert any(example.get("stream") for example in examples)
    assert any(example.get("background") for example in examples)
