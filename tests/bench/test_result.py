"""What is written about a run, and two runs beside each other."""

import json
from typing import Any

import pytest

from scheduler.builders import MEDIUM, make_cost, make_request
from tetriserve.bench.compare import Pairs, lines, pairs
from tetriserve.bench.reply import Reply, read_reply
from tetriserve.bench.result import request_rows, run_row
from tetriserve.sim.results import run_row as simulated_row
from tetriserve.sim.results import schedule_rows
from tetriserve.sim.simulate import simulate
from tetriserve.workload.trace import TraceEntry

REPORT = {"gpu_seconds": 2.0, "queue_s": 0.5, "degrees": [1, 2], "met_deadline": True}


def reply(index: int, latency_s: float, code: str | None = None, size: int = 64, **rest: Any) -> Reply:
    entry = TraceEntry(f"r{index}", float(index), size, size, 2, 1.0, "a cat")
    return Reply(entry, latency_s, 0.001, code, "said" if code else "", **rest)


def document(name: str, replies: list[Reply]) -> dict[str, Any]:
    return {"runs": [run_row(name, replies)], "schedules": [request_rows(name, replies)]}


def test_failures_are_missed_and_listed_by_code() -> None:
    replies = [reply(0, 0.5), reply(1, 2.0), reply(2, 0.1, "429"), reply(3, 0.1, "429"), reply(4, 0.1, "500")]
    row = run_row("x", replies)
    assert (row["sar"], row["num_requests"], row["num_failed"]) == (0.2, 5, 3)
    assert row["errors"] == [
        {"code": "429", "count": 2, "message": "said"},
        {"code": "500", "count": 1, "message": "said"},
    ]
    assert row["mean_latency_s"] == 1.25
    assert row["duration_s"] == 4.1


def test_what_our_server_tells_is_used() -> None:
    row = run_row("x", [reply(0, 0.5, report=REPORT), reply(1, 1.5, report=REPORT)], num_devices=2)
    assert (row["gpu_seconds_per_image"], row["mean_queue_s"]) == (2.0, 0.5)
    assert row["gpu_utilization"] == pytest.approx(4.0 / (2 * 2.5))
    (first, second) = request_rows("x", [reply(1, 1.5, report=REPORT), reply(0, 0.5, report=REPORT)])["requests"]
    assert (first["request_id"], first["degrees"], first["met_deadline"]) == ("r0", [1, 2], True)
    assert not second["met_deadline"], "the client judges, whatever the server says"
    assert second["server"]["met_deadline"]


def test_what_another_server_does_not_tell_is_null() -> None:
    row = run_row("x", [reply(0, 0.5)], num_devices=None)
    assert row["gpu_seconds_per_image"] is row["mean_queue_s"] is row["gpu_utilization"] is None
    json.dumps(document("x", [reply(0, 0.5), reply(1, 1.0, "timeout")]), allow_nan=False)


def test_the_shapes_are_those_of_simulations() -> None:
    simulated = simulate(make_cost(1), [make_request("a", MEDIUM)], "fixed-sp1", 1)
    ours = document("x", [reply(0, 0.5)])
    assert simulated_row("x", simulated).keys() <= ours["runs"][0].keys()
    theirs = schedule_rows("x", simulated)
    assert theirs.keys() == ours["schedules"][0].keys()
    assert theirs["requests"][0].keys() <= ours["schedules"][0]["requests"][0].keys()


@pytest.mark.parametrize(
    ("status", "body", "code", "error"),
    [
        (200, b'{"data": [{"url": "http://x/1.png"}]}', None, ""),
        (200, b'{"data": [{"b64_json": "aGk="}], "tetriserve": 7}', None, ""),
        (200, b'{"data": [{"b64_json": ""}]}', "no image", ""),
        (200, b"[1]", "no image", "[1]"),
        (200, b"\xff", "no image", "\ufffd"),
        (429, b'{"error": {"message": "full"}}', "429", "full"),
        (429, b'{"error": "full"}', "429", "full"),
        (500, b'{"detail": [{"msg": "odd"}]}', "500", "[{'msg': 'odd'}]"),
        (502, b"<html>bad gateway", "502", "<html>bad gateway"),
    ],
)
def test_any_answer_can_be_read(status: int, body: bytes, code: str | None, error: str) -> None:
    entry = reply(0, 1.0).entry
    found = read_reply(entry, (1.0, 0.0), status, body)
    assert found.code == code
    assert found.report == {}
    assert error in found.error


def test_two_runs_of_one_trace_are_compared_request_by_request() -> None:
    first = document("a", [reply(index, 0.5 if index < 8 else 2.0) for index in range(10)])
    second = document("b", [reply(index, 0.5 if index < 2 else 2.0) for index in range(10)])
    found = pairs(first, second)
    assert found == Pairs(only_first=6, only_second=0)
    assert found.p_value == pytest.approx(2 / 64)
    (sar,) = (line for line in lines(first, second) if line.name == "sar")
    assert (sar.first, sar.second, sar.difference) == (0.8, 0.2, pytest.approx(-0.6))
    assert pairs(first, document("b", [reply(99, 0.5)])) is None
    assert Pairs(0, 0).p_value == Pairs(3, 3).p_value == 1.0
    assert Pairs(2000, 3000).p_value < 1e-9
