"""The recorded minutes as trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing show.

A track for every device and one for every request, deadlines as instants, the length of the queue as a counter.
Source: Trace Event Format (Chrome), JSON object form; times in microseconds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tetriserve.core.chunk import Stage
from tetriserve.core.steps import taken_steps
from tetriserve.runtime.records import ChunkRecord, Records, RequestRecord, RequestState

DEVICES, REQUESTS = 1, 2
"""Process ids: groups of tracks."""

TraceEvent = dict[str, Any]


def trace(records: Records, num_devices: int) -> dict[str, Any]:
    """A JSON object to save as a file and open. What has not ended is drawn up to now."""
    chunks = [chunk for chunk in records.chunks if chunk.begin_s < records.now_s]
    chunks.sort(key=lambda chunk: (chunk.begin_s, chunk.chunk_id))
    requests = sorted(records.requests, key=lambda one: (one.arrival_s, one.request_id))
    tracks = {one.request_id: index for index, one in enumerate(requests)}
    events = [*_names(num_devices, requests)]
    for chunk in chunks:
        events += _of_chunk(chunk, tracks, records.now_s)
    begins_s = _begins_s(requests, chunks, records.now_s)
    for one in requests:
        events += _of_request(one, tracks[one.request_id], begins_s[one.request_id])
    events += _queue_length(requests, begins_s)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _names(num_devices: int, requests: Iterable[RequestRecord]) -> Iterator[TraceEvent]:
    for process, name in ((DEVICES, "Devices"), (REQUESTS, "Requests")):
        yield {"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}}
    for device in range(num_devices):
        yield _named(DEVICES, device, f"device {device}")
    for track, one in enumerate(requests):
        yield _named(REQUESTS, track, f"{one.request_id} {one.size}")


def _named(process: int, track: int, name: str) -> TraceEvent:
    return {"ph": "M", "pid": process, "tid": track, "name": "thread_name", "args": {"name": name}}


def _of_chunk(chunk: ChunkRecord, tracks: Mapping[str, int], now_s: float) -> Iterator[TraceEvent]:
    """On the tracks of its devices and of its requests."""
    end_s = min(chunk.end_s, now_s)
    about = {"chunk": chunk.chunk_id, "state": chunk.state, "degree": len(chunk.devices), "devices": chunk.devices}
    for device in chunk.devices:
        yield _slice(DEVICES, device, f"{_title(chunk, 0)} {', '.join(chunk.request_ids)}", chunk.begin_s, end_s, about)
    for index, request_id in enumerate(chunk.request_ids):
        if request_id in tracks:
            name = f"{_title(chunk, index)} on {len(chunk.devices)}"
            yield _slice(REQUESTS, tracks[request_id], name, chunk.begin_s, end_s, about)


def _of_request(one: RequestRecord, track: int, begin_s: float) -> Iterator[TraceEvent]:
    yield _slice(REQUESTS, track, "queue", one.arrival_s, begin_s, {"state": one.state})
    yield _instant(track, f"deadline ({one.state})", one.deadline_s)


def _title(chunk: ChunkRecord, index: int) -> str:
    if chunk.stage is not Stage.DENOISE:
        return str(chunk.stage)
    taken = taken_steps(chunk.first_steps[index], chunk.num_steps)
    return f"step {taken.stop}" if len(taken) == 1 else f"steps {taken.start + 1}-{taken.stop}"


def _queue_length(requests: Sequence[RequestRecord], begins_s: Mapping[str, float]) -> Iterator[TraceEvent]:
    """Requests that have arrived and not begun."""
    changes = [(one.arrival_s, 1) for one in requests]
    changes += [(begins_s[one.request_id], -1) for one in requests]
    length = 0
    for at_s, change in sorted(changes):
        length += change
        yield {"ph": "C", "pid": REQUESTS, "name": "queue", "ts": _us(at_s), "args": {"requests": length}}


def _begins_s(requests: Sequence[RequestRecord], chunks: Iterable[ChunkRecord], now_s: float) -> dict[str, float]:
    """When each began; else when it left without having begun, or now."""
    over = {RequestState.FAILED, RequestState.CANCELLED}
    begins_s = {one.request_id: one.end_s if one.state in over and one.end_s else now_s for one in requests}
    begins_s |= {one.request_id: one.begin_s for one in requests if one.begin_s is not None}
    for chunk in chunks:
        for request_id in chunk.request_ids:
            if request_id in begins_s:
                begins_s[request_id] = min(begins_s[request_id], chunk.begin_s)
    return begins_s


def _slice(process: int, track: int, name: str, begin_s: float, end_s: float, about: dict[str, Any]) -> TraceEvent:
    length = _us(end_s) - _us(begin_s)
    return {"ph": "X", "pid": process, "tid": track, "name": name, "ts": _us(begin_s), "dur": length, "args": about}


def _instant(track: int, name: str, at_s: float) -> TraceEvent:
    return {"ph": "i", "pid": REQUESTS, "tid": track, "name": name, "ts": _us(at_s), "s": "t"}


def _us(at_s: float) -> int:
    return round(at_s * 1e6)
