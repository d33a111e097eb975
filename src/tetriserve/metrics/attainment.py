"""SLO attainment and the other aggregate numbers of a set of outcomes."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tetriserve.core.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Summary:
    """Aggregates. Cancelled requests are only counted; all else is told of the others.

    Latencies, in seconds from arrival, and GPU seconds per image are of those that got an image.

    `sar` is the SLO attainment ratio; it and the latencies are NaN where there is nothing to count.
    """

    num_requests: int
    num_failed: int
    num_cancelled: int
    sar: float
    mean_latency_s: float
    p50_latency_s: float
    p99_latency_s: float
    mean_queue_s: float
    gpu_seconds_per_image: float


@dataclass(frozen=True, slots=True)
class Report:
    """The summary of all outcomes, and of those of each size (`WIDTHxHEIGHT`, ascending)."""

    total: Summary
    by_size: dict[str, Summary]

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it: the total's fields, and `by_size`; NaN becomes null."""
        sizes = {size: _plain(summary) for size, summary in self.by_size.items()}
        return {**_plain(self.total), "by_size": sizes}


def slo_attainment(outcomes: Iterable[Outcome]) -> float:
    """Share of requests done by their deadline; a failed one counts as missed, a cancelled one not at all.

    Source: TetriServe §6.1.
    """
    return _mean([float(outcome.met_deadline) for outcome in outcomes if not outcome.cancelled])


def report(outcomes: Sequence[Outcome]) -> Report:
    """All numbers of these outcomes."""
    groups: dict[tuple[int, str], list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        size = outcome.request.size
        groups[size.num_tokens, str(size)].append(outcome)
    return Report(summarize(outcomes), {size: summarize(group) for (_, size), group in sorted(groups.items())})


def summarize(outcomes: Sequence[Outcome]) -> Summary:
    """The numbers of these outcomes as one group."""
    done = [outcome for outcome in outcomes if outcome.error is None]
    num_cancelled = sum(outcome.cancelled for outcome in outcomes)
    latencies_s = sorted(outcome.latency_s for outcome in done)
    return Summary(
        num_requests=len(outcomes),
        num_failed=len(outcomes) - len(done) - num_cancelled,
        num_cancelled=num_cancelled,
        sar=slo_attainment(outcomes),
        mean_latency_s=_mean(latencies_s),
        p50_latency_s=quantile(latencies_s, 0.50),
        p99_latency_s=quantile(latencies_s, 0.99),
        mean_queue_s=_mean([outcome.queue_s for outcome in done]),
        gpu_seconds_per_image=_mean([outcome.gpu_seconds for outcome in done]),
    )


def quantile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values don't exceed; NaN of nothing."""
    if not ascending:
        return math.nan
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def _plain(summary: Summary) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in asdict(summary).items()}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
