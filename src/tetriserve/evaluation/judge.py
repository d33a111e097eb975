"""From a cell's file to outcomes under deadlines of any scale, as served or as simulated."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from tetriserve.core.outcome import Outcome
from tetriserve.core.size import Size
from tetriserve.evaluation.study import Study
from tetriserve.workload.trace import TraceEntry

Clock = Literal["client", "engine", "simulated"]
"""Whose: the client's, to the whole answer; the server's, to the decoded image; or the simulator's,
which are of decoded images too, judged by when they are due to be delivered by their deadlines."""
NAN = float("nan")


def outcomes(document: Mapping[str, Any], study: Study, scale: float, clock: Clock = "client") -> list[Outcome]:
    """Every request, judged at `scale`. A cell that was run with deadlines of one scale has no other.

    Where the server did not tell the engine's time, the client's stands for it.
    """
    told = document["cell"]["scale"]
    assert told in (None, scale), f"{document['id']} was run at {told}"
    factor = scale / study.scales[0] if told is None else 1.0
    delivery_s = document["simulated"].get("delivery_s", {}) if clock == "simulated" else {}
    return [
        _outcome(row, factor, _latency_s(document, row, clock), clock, delivery_s.get(row["size"], 0.0))
        for row in document["requests"]
    ]


def _latency_s(document: Mapping[str, Any], row: Mapping[str, Any], clock: Clock) -> float:
    if clock == "simulated":
        return float(document["simulated"]["latency_s"][row["request_id"]])
    if clock == "engine" and row["engine_latency_s"] is not None:
        return float(row["engine_latency_s"])
    return float(row["latency_s"])


def _outcome(row: Mapping[str, Any], factor: float, latency_s: float, clock: Clock, delivery_s: float) -> Outcome:
    size = Size.parse(row["size"])
    entry = TraceEntry(row["request_id"], row["arrival_s"], *size, row["num_steps"], row["slo_s"] * factor, "-")
    failed = clock != "simulated" and row["error_code"] is not None
    return Outcome(
        request=replace(entry.to_request(), delivery_s=delivery_s),
        finished_s=entry.arrival_s + latency_s,
        queue_s=_number(row["queue_s"]),
        gpu_seconds=_number(row["gpu_seconds"]),
        degrees=tuple(row["degrees"]),
        error_code=row["error_code"] if failed else None,
        error=row["error"] or row["error_code"] if failed else None,
    )


def _number(value: float | None) -> float:
    return NAN if value is None else value
