"""The described API against the real one: whatever is sent within or beside the description, nothing breaks."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings

from server.described import check_call, described, schema, server_in_a_thread

NUM_CALLS = 12
"""Of every route; `scripts/fuzz` makes more."""


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
    check_call(case, url)


def test_every_route_of_the_api_is_described_with_its_errors() -> None:
    description = described()
    assert set(description["paths"]) == {
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
    post = description["paths"]["/v1/images/generations"]["post"]
    assert set(post["responses"]) >= {"200", "202", "400", "401", "429", "500", "503"}
    assert "text/event-stream" in post["responses"]["200"]["content"]
    examples = description["components"]["schemas"]["ImagesRequest"]["examples"]
    assert any(example.get("stream") for example in examples)
    assert any(example.get("background") for example in examples)
