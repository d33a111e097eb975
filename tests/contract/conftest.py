"""One suite, every executor."""

from collections.abc import Iterator

import pytest

from contract.harness import EXECUTORS, Harness


@pytest.fixture(params=EXECUTORS)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with EXECUTORS[request.param](4) as made:
        yield made
