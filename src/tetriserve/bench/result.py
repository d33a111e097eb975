"""The JSON of a run: a row of totals and every request, in the shapes of simulations, so that `plot` reads both.

What only a client can know comes on top: errors by code, how late requests were sent, rates.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tetriserve.bench.reply import Reply
from tetriserve.metrics.attainment import quantile, report


def run_row(name: str, replies: Sequence[Reply], num_devices: int | None = None) -> dict[str, Any]:
    """The numbers of one run. Failures of any kind count as missed; what the server didn't tell is null."""
    numbers = report([reply.outcome() for reply in replies]).to_json()
    duration_s = max((reply.entry.arrival_s + reply.latency_s for reply in replies), default=0.0)
    codes = Counter(reply.code for reply in replies if reply.code is not None)
    return {
        "policy": name,
        **numbers,
        "gpu_utilization": _utilization(replies, num_devices, duration_s),
        "decision_ms": None,
        "duration_s": duration_s,
        "offered_per_min": _per_min(len(replies), max((reply.entry.arrival_s for reply in replies), default=0.0)),
        "images_per_min": _per_min(sum(reply.ok for reply in replies), duration_s),
        "on_time_per_min": _per_min(sum(reply.met_deadline for reply in replies), duration_s),
        "send_lag_p99_s": _plain(quantile(sorted(reply.send_lag_s for reply in replies), 0.99)),
        "errors": [
            {"code": code, "count": count, "message": next(one.error for one in replies if one.code == code)}
            for code, count in codes.most_common()
        ],
    }


def request_rows(name: str, replies: Iterable[Reply]) -> dict[str, Any]:
    """Every request in order of its end, as the `schedules` of a simulation; a client sees no chunks."""
    ordered = sorted(replies, key=lambda reply: (reply.entry.arrival_s + reply.latency_s, reply.entry.request_id))
    return {"policy": name, "requests": [_request_row(reply) for reply in ordered], "chunks": []}


def _request_row(reply: Reply) -> dict[str, Any]:
    entry, outcome = reply.entry, reply.outcome()
    return {
        "request_id": entry.request_id,
        "size": str(entry.size),
        "arrival_s": entry.arrival_s,
        "deadline_s": entry.arrival_s + entry.slo_s,
        "finished_s": outcome.finished_s,
        "met_deadline": reply.met_deadline,
        "gpu_seconds": _plain(outcome.gpu_seconds),
        "degrees": list(outcome.degrees),
        "error": outcome.error,
        "error_code": reply.code,
        "num_inference_steps": entry.num_inference_steps,
        "queue_s": _plain(outcome.queue_s),
        "send_lag_s": reply.send_lag_s,
        "server": _server_account(reply.report),
    }


def _server_account(report: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the server itself says about the deadline."""
    return {key: report.get(key) for key in ("request_id", "met_deadline", "latency_s", "slo_s")} if report else None


def _utilization(replies: Sequence[Reply], num_devices: int | None, duration_s: float) -> float | None:
    """GPU time of the images over that of the machine; None where the server doesn't tell."""
    spent_s = math.fsum(reply.outcome().gpu_seconds for reply in replies if reply.ok)
    return None if not num_devices or not duration_s else _plain(spent_s / (num_devices * duration_s))


def _per_min(count: int, seconds: float) -> float | None:
    return 60 * count / seconds if seconds else None


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
