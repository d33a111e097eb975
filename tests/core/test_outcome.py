"""What counts as in time."""

from dataclasses import replace

from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.core.size import Size

OUTCOME = Outcome(Request("a", "", Size(256, 256), 4, 1.0, 0, 10.0, 12.0), 12.0, 0.0, 1.0, (1,) * 4)


def test_the_deadline_itself_is_in_time() -> None:
    assert OUTCOME.met_deadline
    assert OUTCOME.latency_s == OUTCOME.request.slo_s == 2.0
    assert not replace(OUTCOME, finished_s=12.001).met_deadline


def test_a_failure_is_never_in_time() -> None:
    assert not replace(OUTCOME, finished_s=11.0, error="out of memory", error_code="engine_error").met_deadline


def test_an_image_that_will_be_delivered_late_is_late() -> None:
    request = replace(OUTCOME.request, delivery_s=0.5)
    assert request.due_s == 11.5
    assert replace(OUTCOME, request=request, finished_s=11.5).met_deadline
    assert not replace(OUTCOME, request=request, finished_s=11.6).met_deadline
