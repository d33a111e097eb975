"""Two runs beside each other; of the same trace, also request by request."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

Document = Mapping[str, Any]

NUMBERS = (
    "sar",
    "num_failed",
    "mean_latency_s",
    "p50_latency_s",
    "p99_latency_s",
    "mean_queue_s",
    "gpu_seconds_per_image",
    "gpu_utilization",
    "on_time_per_min",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One number of both; None where a run doesn't have it."""

    name: str
    first: float | None
    second: float | None

    @property
    def difference(self) -> float | None:
        """Second less first."""
        return None if self.first is None or self.second is None else self.second - self.first


@dataclass(frozen=True, slots=True)
class Pairs:
    """Requests that only one of the runs had on time. `p_value`: of an exact sign test that both are as good."""

    only_first: int
    only_second: int

    @property
    def p_value(self) -> float:
        """Chance of a split at least so uneven if each of these requests were a toss of a coin. Source: McNemar."""
        count, fewer = self.only_first + self.only_second, min(self.only_first, self.only_second)
        tail = sum(math.comb(count, k) for k in range(fewer + 1))
        return min(1.0, float(Fraction(2 * tail, 1 << count)))


def lines(first: Document, second: Document) -> list[Line]:
    """The numbers that at least one of the runs has; attainment by size behind them."""
    rows = first["runs"][0], second["runs"][0]
    found = [Line(name, rows[0].get(name), rows[1].get(name)) for name in NUMBERS]
    sizes = dict.fromkeys(size for row in rows for size in row["by_size"])
    by_size = [[row["by_size"].get(size, {}).get("sar") for row in rows] for size in sizes]
    found += [Line(f"sar {size}", *shares) for size, shares in zip(sizes, by_size, strict=True)]
    return [line for line in found if line.first is not None or line.second is not None]


def pairs(first: Document, second: Document) -> Pairs | None:
    """None unless both runs had the same requests with the same deadlines."""
    runs = [_by_request(document) for document in (first, second)]
    if not runs[0] or runs[0].keys() != runs[1].keys():
        return None
    met = [(runs[0][key], runs[1][key]) for key in runs[0]]
    return Pairs(met.count((True, False)), met.count((False, True)))


def _by_request(document: Document) -> dict[tuple[Any, ...], bool]:
    """Whether each request was on time, by what makes it the same request."""
    names = ("request_id", "size", "arrival_s", "deadline_s")
    requests = document["schedules"][0]["requests"] if document.get("schedules") else []
    return {tuple(one[name] for name in names): one["met_deadline"] for one in requests}
