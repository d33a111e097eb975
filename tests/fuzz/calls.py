"""Calls of every described route of a running server, such as the description allows and such as it doesn't."""

from collections.abc import Sequence

import requests
from hypothesis import given
from hypothesis import seed as seeded
from schemathesis import Case
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from fuzz.feeder import Feeder
from fuzz.nearly import without_end
from fuzz.target import FindingError
from server.described import check_call, schema, server_in_a_thread

BODY_SHARE = 10.0
"""Calls of a route that reads a body, where another gets one."""


def routes() -> Sequence[tuple[str, float]]:
    """Every route, and its share of the calls; none for those that have nothing to vary."""
    return [(route.label, _share(route)) for route in _operations()]


def feed_calls(label: str, cases: int, seed: int, feeder: Feeder) -> None:
    """Calls of one route. Fewer, where there are no more."""
    (route,) = (one for one in _operations() if one.label == label)
    with server_in_a_thread() as url:

        @seeded(seed)
        @without_end(cases)
        @given(route.as_strategy(GenerationMode.POSITIVE) | route.as_strategy(GenerationMode.NEGATIVE))
        def call(case: Case) -> None:
            feeder.feed(case.as_curl_command().encode("utf-8", "backslashreplace"), lambda: _check(case, url))

        call()


def _operations() -> Sequence[APIOperation]:
    return [found.ok() for found in schema.get_all_operations()]


def _share(route: APIOperation) -> float:
    if len(route.body):
        return BODY_SHARE
    return 1.0 if any((route.path_parameters, route.query, route.headers)) else 0.0


def _check(case: Case, url: str) -> None:
    try:
        check_call(case, url)
    except FailureGroup as group:
        raise FindingError("; ".join(f"{one.title}: {one.message}" for one in group.exceptions)) from group
    except requests.RequestException as error:
        raise FindingError(f"no answer: {error}") from error
