"""How long does one decision take as machines and queues grow, and what does the timing wheel save?

Theory: a decision of `default` plans at most 16 cells of 8 devices, each with 8 waiting requests at most; without the
wheel it also looks at every pending request once (about 1 us each), with it only at those whose last time to start
has come. So time should grow with the machine up to 128 devices, and with the queue only where it is scanned.
Output: a line per case, the processor time of Scheduler.on(Tick) in ms (the policy, the view, checks and chunks), the
worst of three tightnesses of deadlines (the paper's times 1, which is overload, 5 and 50); the last line is JSON. All
requests arrive at once.

    python tests/scheduler/bench_decisions.py [--profile NAME|FILE] [--policy NAME] [--chart FILE]
"""

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scheduler.scan import ScannedRequests
from tetriserve.core.commands import Command
from tetriserve.core.events import Event, Tick
from tetriserve.core.request import Request
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.metrics.attainment import quantile
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation

CASES = tuple((gpus, pending) for gpus in (8, 64, 1024) for pending in (10, 100, 1000, 10000))
LIMITS_MS = {(8, 100): 1.0, (64, 1000): 10.0, (1024, 10000): 50.0}
SLO_SCALES = (1.0, 5.0, 50.0)
NUM_DECISIONS = 400


class EnoughError(Exception):
    """As many decisions as wanted were measured."""


class TimedScheduler(Scheduler):
    """Measures its decisions; with `scan` it looks at every pending request, as it did before there was a wheel."""

    def __init__(self, policy: str, cost: CostModel, num_devices: int, scan: bool) -> None:
        super().__init__(make_policy(policy, cost, num_devices), cost, num_devices)
        if scan:
            self._pending = ScannedRequests(cost, self._timeline)
        self.decision_ms: list[float] = []

    def on(self, event: Event, now_s: float) -> tuple[Command, ...]:
        begin_s = time.thread_time()
        commands = super().on(event, now_s)
        if isinstance(event, Tick):
            self.decision_ms.append((time.thread_time() - begin_s) * 1e3)
            if len(self.decision_ms) == NUM_DECISIONS:
                raise EnoughError
        return commands


def make_requests(num_pending: int, slo_scale: float) -> list[Request]:
    """All at once, with deadlines of 0.3 to 1 times the paper's, times the scale."""
    source, requests = random.Random(0), []
    for index in range(num_pending):
        size = source.choice(list(PAPER_SLO_S))
        due_s = source.uniform(0.3, 1.0) * PAPER_SLO_S[size] * slo_scale
        requests.append(Request(f"r{index:05d}", "a red apple", size, 28, 3.5, 0, 0.0, due_s))
    return requests


def measure(cost: CostModel, policy: str, gpus: int, pending: int, scan: bool) -> dict[str, Any]:
    """Quantiles of the first decisions over so many pending requests; each the worst of all tightnesses."""
    worst = {"p50": 0.0, "p99": 0.0, "max": 0.0}
    for slo_scale in SLO_SCALES:
        scheduler = TimedScheduler(policy, cost, gpus, scan)
        with contextlib.suppress(EnoughError):
            Simulation(cost, gpus, scheduler, Faults(0.01, 1)).run(make_requests(pending, slo_scale))
        times_ms = sorted(scheduler.decision_ms)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            worst[name] = max(worst[name], round(quantile(times_ms, share), 3))
    kept = "scan" if scan else "wheel"
    return {"gpus": gpus, "pending": pending, "kept": kept, "limit_ms": LIMITS_MS.get((gpus, pending)), **worst}


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Both quantiles against the queue: a panel a machine, the limits as marks."""
    from tetriserve.plots.style import drawing, new_figure, save

    with drawing():
        counts = sorted({row["gpus"] for row in rows})
        figure = new_figure(9.0, 3.0)
        panels = figure.subplots(1, len(counts), sharex=True, sharey=True)
        for axes, gpus in zip(panels, counts, strict=True):
            for kept, colour in (("scan", "#7f7f7f"), ("wheel", "#d62728")):
                here = [row for row in rows if (row["gpus"], row["kept"]) == (gpus, kept)]
                for name, line in (("p50", "dotted"), ("p99", "solid")):
                    points = [(row["pending"], row[name]) for row in here]
                    axes.loglog(*zip(*points, strict=True), color=colour, linestyle=line, label=f"{kept}, {name}")
            limits = [(row["pending"], row["limit_ms"]) for row in rows if row["gpus"] == gpus and row["limit_ms"]]
            axes.plot(*zip(*limits, strict=True), "kv", markersize=5, label="limit of p99")
            axes.set_title(f"{gpus} GPUs")
            axes.set_xlabel("pending requests")
        panels[0].set_ylabel("ms a decision")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
        save(figure, path.parent, path.stem, [path.suffix.removeprefix(".")])


def main() -> None:
    """Measure every case with the wheel and with a scan."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--profile", default="flux1-dev.h100.eager")
    parser.add_argument("--policy", default="default")
    parser.add_argument("--chart", type=Path)
    args = parser.parse_args()
    rows, show = [], make_show()
    for gpus, pending in CASES:
        cost = CostModel(load_profile(args.profile), gpus)
        for scan in (False, True):
            rows.append(measure(cost, args.policy, gpus, pending, scan))
            show(rows[-1])
    if args.chart is not None:
        draw(rows, args.chart)
    sys.stdout.write(json.dumps({"policy": args.policy, "decision_ms": rows}) + "\n")


def make_show() -> Callable[[dict[str, Any]], None]:
    """Prints the rows of a table."""
    sys.stdout.write(f"{'GPUs':>5} {'pending':>8} {'kept':>6} {'p50':>8} {'p99':>8} {'max':>8}  limit of p99, ms\n")

    def show(row: dict[str, Any]) -> None:
        times = " ".join(f"{row[name]:8.2f}" for name in ("p50", "p99", "max"))
        limit = "" if row["limit_ms"] is None else f"  {row['limit_ms']:g}"
        sys.stdout.write(f"{row['gpus']:5d} {row['pending']:8d} {row['kept']:>6} {times}{limit}\n")
        sys.stdout.flush()

    return show


if __name__ == "__main__":
    main()
