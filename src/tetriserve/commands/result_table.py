"""The results of a simulation as a table for a terminal of 80 columns."""

from typing import Any

from rich.table import Table

LATENCIES = ("mean_latency_s", "p50_latency_s", "p99_latency_s")


def result_table(document: dict[str, Any]) -> Table:
    """One row a policy: attainment of all and by size, latencies in seconds, GPU time."""
    config = document["config"]
    title = f"{config['num_requests']} requests, {config['gpus']} GPUs, {config['profile']}"
    table = Table(title=title, caption=_bounds(document), box=None, padding=(0, 0, 0, 1), pad_edge=False)
    sizes = list(document["runs"][0]["by_size"])
    table.add_column("\npolicy", no_wrap=True)
    headings = ("met\nall", *(f"\n{short_size(size)}" for size in sizes), "mean\ns", "p50\ns", "p99\ns")
    for heading in (*headings, "GPU s\n/image", "GPU\nuse", "plan ms\np99"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in document["runs"]:
        table.add_row(*_cells(row, sizes))
    return table


def _cells(row: dict[str, Any], sizes: list[str]) -> list[str]:
    decision_ms = (row["decision_ms"] or {}).get("p99")
    return [
        row["policy"],
        f"[bold]{row['sar']:.3f}[/]",
        *(number(row["by_size"].get(size, {}).get("sar")) for size in sizes),
        *(number(row[name]) for name in LATENCIES),
        number(row["gpu_seconds_per_image"]),
        f"{row['gpu_utilization']:.0%}",
        number(decision_ms),
    ]


def _bounds(document: dict[str, Any]) -> str | None:
    lines = []
    if document["bound_sar"] is not None:
        lines.append(f"possible at all, knowing the future: at most {document['bound_sar']:.3f}")
    if "hindsight_sar" in document:
        unsolved = "" if document["hindsight_solved"] else " (time limit; it may be lower)"
        lines.append(f"with whole requests: at most {document['hindsight_sar']:.3f}{unsolved}")
    return "\n".join(lines) or None


def short_size(size: str) -> str:
    """`1024²` for 1024x1024."""
    width, _, height = size.partition("x")
    return f"{width}²" if width == height else size


def number(value: float | None, digits: int = 2) -> str:
    """A dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
