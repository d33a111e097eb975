"""Trace files."""

import json
from pathlib import Path
from typing import Any

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.workload.trace import TraceEntry, read_trace, write_trace

ENTRY = TraceEntry("a", 1.5, 512, 256, 28, 2.0, "ein grüner Apfel\u2028🍏")
RAW = {
    "request_id": "b",
    "arrival_s": 0,
    "width": 256,
    "height": 256,
    "num_inference_steps": 4,
    "slo_s": 1,
    "prompt": "a",
}


def write(path: Path, *raws: Any) -> Path:
    path.write_text("\n".join(json.dumps(raw) for raw in raws), encoding="utf-8")
    return path


def test_a_trace_is_written_in_order_of_arrival_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    later = TraceEntry("z", 9.0, 256, 256, 4, 1.0, "x")
    write_trace(path, [later, ENTRY])
    assert read_trace(path) == (ENTRY, later)
    assert path.read_bytes().count(b"\n") == 2


def test_an_entry_stands_for_a_request() -> None:
    request = ENTRY.to_request(seed=7)
    assert (request.arrival_s, request.deadline_s, request.slo_s) == (1.5, 3.5, 2.0)
    assert (request.seed, str(request.size), request.prompt) == (7, "512x256", ENTRY.prompt)


def test_empty_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f"\n{json.dumps(RAW)}\n\n", encoding="utf-8")
    assert len(read_trace(path)) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"width": 250}, "250x256.*multiples of 16"),
        ({"width": 256.0}, "width is 256.0, must be a whole number"),
        ({"height": True}, "height is True"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0, must be 1 to 200"),
        ({"num_inference_steps": 1001}, "1001, must be 1 to 200"),
        ({"arrival_s": -1}, "arrival_s is -1, must be at least 0"),
        ({"arrival_s": "0"}, "arrival_s is '0', must be a finite number"),
        ({"slo_s": 0}, "slo_s is 0, must be above 0 and at most 3600"),
        ({"slo_s": float("nan")}, "slo_s is nan"),
        ({"request_id": ""}, "request_id has 0 characters, must have 1 to 128"),
        ({"request_id": 7}, "request_id is 7, must be a string"),
        ({"prompt": None}, "prompt is None"),
        ({"prompt": ""}, "prompt has 0 characters"),
        ({"seed": 1}, "'seed' is not a field; there are request_id"),
    ],
)
def test_a_wrong_value_is_named_with_line_and_limit(tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    path = write(tmp_path / "trace.jsonl", RAW, {**RAW, "request_id": "c", **change})
    with pytest.raises(ConfigurationError, match=f"trace.jsonl, line 2: .*{complaint}"):
        read_trace(path)


@pytest.mark.parametrize("name", RAW)
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "trace.jsonl", {key: value for key, value in RAW.items() if key != name})
    with pytest.raises(ConfigurationError, match=f"line 1: {name} is missing"):
        read_trace(path)


@pytest.mark.parametrize("line", ["{", "[]", "1", '{"request_id": "b"', "[" * 100_000])
def test_a_line_that_is_no_object(tmp_path: Path, line: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="line 1"):
        read_trace(path)


def test_an_id_that_occurs_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="line 2: request_id 'b' occurs twice"):
        read_trace(write(tmp_path / "trace.jsonl", RAW, RAW))


def test_an_empty_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no request"):
        read_trace(write(tmp_path / "empty.jsonl"))
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_trace(tmp_path / "none.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_trace(tmp_path / "binary")


def test_arrivals_out_of_order_are_named_with_line_and_value(tmp_path: Path) -> None:
    path = write(tmp_path / "trace.jsonl", {**RAW, "arrival_s": 2.5}, {**RAW, "request_id": "c", "arrival_s": 2})
    with pytest.raises(ConfigurationError, match=r"line 2: arrival_s is 2, before the 2\.5 of the line above"):
        read_trace(path)


def test_text_that_can_not_be_written_again_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, [TraceEntry("r0", 0.0, 256, 256, 20, 1.5, "half of a pair")])
    path.write_text(path.read_text().replace("half", "\\ud800"))
    with pytest.raises(
        ConfigurationError, match="line 1: prompt is not valid Unicode: surrogates not allowed at character 0"
    ):
        read_trace(path)
