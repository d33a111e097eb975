"""How long the server's decisions took during a cell, from the histogram in `/metrics`."""

import math
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

NAME = "tetriserve_decision_seconds"

Counts = dict[float, float]
"""Decisions that took no longer, by seconds; the last bound is infinite."""


async def decision_counts(client: httpx.AsyncClient) -> Counts:
    """As they are now, since the server began."""
    response = await client.get("/metrics", timeout=30)
    response.raise_for_status()
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
        if sample.name == f"{NAME}_bucket"
    }


def decision_ms(before: Counts, after: Counts) -> dict[str, Any]:
    """Of the decisions in between: how many, and quantiles in ms, interpolated inside of a bucket; null of nothing."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = counts.get(math.inf, 0.0)
    return {"count": int(total), "p50": _quantile_ms(counts, 0.50), "p99": _quantile_ms(counts, 0.99)}


def _quantile_ms(counts: Counts, share: float) -> float | None:
    """As Prometheus' histogram_quantile: linear between bounds; the last finite bound for what lies beyond it."""
    total = counts.get(math.inf, 0.0)
    if not total:
        return None
    low_s = low_count = 0.0
    for bound_s, count in counts.items():
        if count >= share * total:
            if math.isinf(bound_s):
                return 1e3 * low_s
            return 1e3 * (low_s + (bound_s - low_s) * (share * total - low_count) / max(1.0, count - low_count))
        low_s, low_count = bound_s, count
    return None
