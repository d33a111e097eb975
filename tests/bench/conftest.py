from collections.abc import Iterator

import pytest

from bench.foreign import Foreign, foreign_server


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with foreign_server() as running:
        yield running
