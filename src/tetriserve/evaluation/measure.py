"""One cell against a running server: the load, and everything that is to be kept of it."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from tetriserve.bench.client import send_all
from tetriserve.bench.reply import Reply
from tetriserve.bench.result import run_row
from tetriserve.bench.target import Target
from tetriserve.core.size import Size
from tetriserve.evaluation.board import BoardWatch, server_id
from tetriserve.evaluation.decisions import decision_counts, decision_ms
from tetriserve.workload.trace import TraceEntry

BODY: Mapping[str, Any] = {"output_format": "jpeg"}
"""Random weights draw noise, of which a PNG takes longer to write than any real image's."""


async def measure(target: Target, trace: Sequence[TraceEntry], name: str, num_devices: int) -> dict[str, Any]:
    """The part of a cell's file that comes from a server of ours."""
    async with target.client() as client:
        board, before = BoardWatch(client), await decision_counts(client)
        await board.start()
        watching = asyncio.create_task(board.watch())
        try:
            replies = await send_all(target, trace)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        await board.look()
        after = await decision_counts(client)
    return {
        "run": {**run_row(name, replies, num_devices), "decision_ms": decision_ms(before, after)},
        "requests": [_row(reply, board.engine_latency_s(server_id(reply))) for reply in replies],
        "chunks": board.chunks(replies),
    }


async def measure_peer(target: Target, trace: Sequence[TraceEntry], name: str, num_devices: int) -> dict[str, Any]:
    """The same of somebody else's server, which tells less."""
    replies = await send_all(target, trace)
    return {
        "run": run_row(name, replies, num_devices),
        "requests": [_row(reply, None) for reply in replies],
        "chunks": [],
    }


def delivery_s(measured: Mapping[str, Any]) -> dict[Size, float]:
    """By size, the median of what a server of ours took beside its engine: files, answers, HTTP."""
    found: defaultdict[Size, list[float]] = defaultdict(list)
    for row in measured["requests"]:
        if row["error_code"] is None and row["engine_latency_s"] is not None:
            found[Size.parse(row["size"])].append(row["latency_s"] - row["engine_latency_s"])
    return {size: median(seconds) for size, seconds in found.items()}


def _row(reply: Reply, engine_latency_s: float | None) -> dict[str, Any]:
    """`latency_s` is the client's, from the intended start to the whole answer."""
    entry, outcome = reply.entry, reply.outcome()
    return {
        "request_id": entry.request_id,
        "size": str(entry.size),
        "num_steps": entry.num_inference_steps,
        "arrival_s": round(entry.arrival_s, 4),
        "slo_s": round(entry.slo_s, 4),
        "latency_s": round(reply.latency_s, 4),
        "engine_latency_s": engine_latency_s,
        "queue_s": _rounded(outcome.queue_s),
        "gpu_seconds": _rounded(outcome.gpu_seconds),
        "degrees": list(outcome.degrees),
        "send_lag_s": round(reply.send_lag_s, 4),
        "error_code": reply.code,
        "error": None if reply.ok else reply.error[:200],
    }


def _rounded(value: float) -> float | None:
    return None if value != value else round(value, 4)  # noqa: PLR0124  (NaN: the server doesn't tell)
