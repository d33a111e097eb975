import json
from typing import Any

import msgspec

from tetriserve.core.chunk import Stage
from tetriserve.runtime.records import ChunkRecord, ChunkState, Records, RequestRecord, RequestState
from tetriserve.runtime.trace import DEVICES, REQUESTS, trace

DONE = ChunkState.DONE
RECORDS = Records(
    9,
    10.0,
    (
        RequestRecord("a", "64x64", 4, 1.0, 6.0, 4, RequestState.MET, 2.0, 5.0),
        RequestRecord("b", "64x64", 4, 1.5, 9.0, 0, RequestState.WAITING),
    ),
    (
        ChunkRecord(0, Stage.ENCODE, ("a",), (0,), (), 0, DONE, 2.0, 2.5),
        ChunkRecord(1, Stage.DENOISE, ("a",), (0, 1), (0,), 3, DONE, 2.5, 4.0),
        ChunkRecord(2, Stage.DENOISE, ("a",), (1,), (3,), 1, DONE, 4.0, 4.5),
        ChunkRecord(3, Stage.DECODE, ("a",), (1,), (), 0, DONE, 4.5, 5.0),
        ChunkRecord(4, Stage.DENOISE, ("b",), (0,), (0,), 4, ChunkState.PLANNED, 9.0, 12.0),
        ChunkRecord(5, Stage.DECODE, ("b",), (0,), (), 0, ChunkState.PLANNED, 12.0, 13.0),
    ),
)


def events(phase: str, process: int) -> list[dict[str, Any]]:
    found = json.loads(msgspec.json.encode(trace(RECORDS, 2)))["traceEvents"]
    return [event for event in found if event["ph"] == phase and event["pid"] == process]


def test_every_device_has_a_track_with_its_chunks() -> None:
    tracks = {0: [], 1: []}
    for event in events("X", DEVICES):
        tracks[event["tid"]].append((event["name"], event["ts"], event["dur"]))
    assert tracks[0] == [
        ("encode a", 2_000_000, 500_000),
        ("steps 1-3 a", 2_500_000, 1_500_000),
        ("steps 1-4 b", 9_000_000, 1_000_000),
    ]
    assert tracks[1] == [
        ("steps 1-3 a", 2_500_000, 1_500_000),
        ("step 4 a", 4_000_000, 500_000),
        ("decode a", 4_500_000, 500_000),
    ]


def test_every_request_has_a_track_that_leaves_no_gap_and_a_deadline() -> None:
    spans = [(event["name"], event["ts"], event["dur"]) for event in events("X", REQUESTS) if event["tid"] == 0]
    names = ["queue", "encode on 1", "steps 1-3 on 2", "step 4 on 1", "decode on 1"]
    assert [name for name, _, _ in sorted(spans, key=lambda span: span[1])] == names
    ends = sorted(begin + length for _, begin, length in spans)
    begins = sorted(begin for _, begin, _ in spans)
    assert begins[1:] == ends[:-1]
    assert [(event["ts"], event["tid"]) for event in events("i", REQUESTS)] == [(6_000_000, 0), (9_000_000, 1)]


def test_the_queue_is_counted() -> None:
    lengths = [(event["ts"] / 1e6, event["args"]["requests"]) for event in events("C", REQUESTS)]
    assert lengths == [(1.0, 1), (1.5, 2), (2.0, 1), (9.0, 0)]


def test_tracks_have_names() -> None:
    names = {(event["pid"], event.get("tid")): event["args"]["name"] for event in events("M", REQUESTS)}
    assert names == {(REQUESTS, None): "Requests", (REQUESTS, 0): "a 64x64", (REQUESTS, 1): "b 64x64"}
    assert [event["args"]["name"] for event in events("M", DEVICES)] == ["Devices", "device 0", "device 1"]
