"""Results of `bench` as tables for a terminal of 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from tetriserve.bench.compare import Line, Pairs
from tetriserve.commands.result_table import number, short_size

TIMES = ("mean_latency_s", "p50_latency_s", "p99_latency_s", "mean_queue_s", "gpu_seconds_per_image")
SURE = 0.05


def run_table(row: Mapping[str, Any]) -> Table:
    """One row a size, and one for all."""
    table = Table(title=f"{row['num_requests']} requests, {escape(row['policy'])}", box=None, padding=(0, 0, 0, 2))
    table.add_column("\nsize", no_wrap=True)
    for heading in ("\nrequests", "\nfailed", "on\ntime", "mean\ns", "p50\ns", "p99\ns", "queue\ns", "GPU s\n/image"):
        table.add_column(heading, justify="right", no_wrap=True)
    for size, summary in (*row["by_size"].items(), ("all", row)):
        counts = str(summary["num_requests"]), str(summary["num_failed"])
        share = f"[bold]{number(summary['sar'], 3)}[/]" if size == "all" else number(summary["sar"], 3)
        table.add_row(short_size(size), *counts, share, *(number(summary[name]) for name in TIMES))
    table.caption = "\n".join(_notes(row))
    return table


def _notes(row: Mapping[str, Any]) -> list[str]:
    notes = [
        f"{number(row['offered_per_min'])} requests a minute sent, {number(row['on_time_per_min'])} images a minute on "
        f"time; sent at most {number(row['send_lag_p99_s'], 3)} s late (p99)"
    ]
    notes += [f"{one['count']} x {one['code']}: {escape(one['message'])}" for one in row["errors"]]
    return notes


def comparison_table(names: Sequence[str], found: Sequence[Line], pairs: Pairs | None) -> Table:
    """One row a number."""
    table = Table("", box=None, padding=(0, 0, 0, 2), caption=_said(names, pairs))
    for heading in (*names, "difference"):
        table.add_column(escape(heading), justify="right", overflow="fold")
    for line in found:
        change = "-" if line.difference is None else f"{line.difference:+.3f}"
        table.add_row(line.name, number(line.first, 3), number(line.second, 3), change)
    return table


def _said(names: Sequence[str], pairs: Pairs | None) -> str:
    if pairs is None:
        return "not the same requests: only totals can be compared"
    verdict = "no chance" if pairs.p_value < SURE else "could be chance"
    counts = f"only {names[0]}: {pairs.only_first}, only {names[1]}: {pairs.only_second}"
    return escape(f"requests on time in one run alone: {counts} (p = {pairs.p_value:.3f}, {verdict})")
