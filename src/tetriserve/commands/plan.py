"""`tetriserve plan`."""

import argparse
import os
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tetriserve.commands.plot import check_chart, draw_plan
from tetriserve.commands.progress import progress_bar
from tetriserve.commands.simulate import write_json
from tetriserve.commands.workload import make_workload
from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.checks import check_profile
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.scheduler.policies import make_policy
from tetriserve.sim.planner import Question, plan
from tetriserve.sim.simulate import SimulationConfig, check_num_devices
from tetriserve.workload.trace import read_trace


def run(args: argparse.Namespace) -> None:
    """Search, show the answer and how it was found, write what was asked for."""
    console = Console()
    question = _question(args)
    _check(args, question)
    with progress_bar(console, "Planning") as progress:
        document = plan(question, args.jobs or os.cpu_count() or 1, progress)
    document["config"] = _resolved(args, question)
    console.print(_table(document))
    console.print(_answer(document), highlight=False)
    if args.json is not None:
        write_json(args.json, document)
    if args.chart is not None:
        draw_plan(document, args.chart)


def _question(args: argparse.Namespace) -> Question:
    entries = make_workload(args) if args.trace is None else read_trace(args.trace)
    return Question(
        profile=args.profile,
        requests=tuple([entry.to_request() for entry in entries]),
        target_sar=args.target_sar,
        policies=tuple([name.strip() for name in args.policy.split(",")]),
        gpu_counts=_gpu_counts(args.gpus),
        seed=args.seed,
        simulation=SimulationConfig(noise_cv=args.noise_cv),
    )


def _gpu_counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise ConfigurationError(f"--gpus {text!r}: must be whole numbers with commas between them") from None


def _check(args: argparse.Namespace, question: Question) -> None:
    """Every fault is found before the first simulation. Raises ConfigurationError."""
    if args.jobs < 0:
        raise ConfigurationError(f"--jobs {args.jobs}: must be at least 1")
    if args.chart is not None:
        check_chart(args.chart)
    for path in (args.json, args.chart):
        if path is not None and not path.parent.is_dir():
            raise ConfigurationError(f"{path}: not a file in an existing directory")
    profile = load_profile(question.profile)
    sizes = sorted({request.size for request in question.requests})
    for gpus in question.gpu_counts:
        check_num_devices(gpus)
        check_profile(profile, sizes, gpus, question.profile)
        for policy in question.policies:
            make_policy(policy, CostModel(profile, gpus), gpus)


def _resolved(args: argparse.Namespace, question: Question) -> dict[str, Any]:
    """Everything the results depend on."""
    made = ("mix", "rate", "arrivals", "steps", "slo_scale")
    return {
        "profile": str(args.profile),
        "gpu": load_profile(args.profile).gpu,
        "trace": None if args.trace is None else str(args.trace),
        "workload": {name: getattr(args, name) for name in made} if args.trace is None else None,
        "num_requests": len(question.requests),
        "policies": list(question.policies),
        "gpus": list(question.gpu_counts),
        "seed": question.seed,
        "simulation": asdict(question.simulation),
    }


def _table(document: dict[str, Any]) -> Table:
    """One row a machine and policy."""
    target = document["target_sar"]
    table = Table(title=f"{document['config']['num_requests']} requests, target {target:g}", box=None, padding=(0, 1))
    for heading in ("GPUs", "policy", "on time", "at most", "SLO that can be promised"):
        table.add_column(heading, justify="left" if heading[0] in "pS" else "right")
    bounds = {bound["gpus"]: bound["bound_sar"] for bound in document["bounds"]}
    for row in document["rows"]:
        on_time = f"[bold]{row['sar']:.3f}[/]" if row["sar"] >= target else f"{row['sar']:.3f}"
        bound = bounds[row["gpus"]]
        table.add_row(str(row["gpus"]), row["policy"], on_time, "-" if bound is None else f"{bound:.3f}", _slo(row))
    return table


def _slo(row: dict[str, Any]) -> str:
    if row["slo_scale"] is None:
        return "none up to 5 x"
    seconds = " ".join(f"{slo_s:.1f}" for slo_s in row["slo_s"].values())
    return f"{row['slo_scale']:g} x: {seconds} s"


def _answer(document: dict[str, Any]) -> str:
    """In words."""
    best, target = document["answer"], document["target_sar"]
    counts = document["config"]["gpus"]
    impossible = [bound["gpus"] for bound in document["bounds"] if (bound["bound_sar"] or 1.0) < target]
    lines = (
        [f"No policy can do it on {max(impossible)} GPUs, not even one that knows the future."] if impossible else []
    )
    if best is not None:
        lines.append(f"[bold]{best['gpus']} GPUs with {best['policy']}[/] keep {best['sar']:.3f} of these deadlines.")
    else:
        lines.append(f"None of these policies keeps {target:g} of these deadlines on up to {max(counts)} GPUs.")
        able = [row for row in document["rows"] if row["slo_scale"] is not None]
        best = min(able, key=lambda row: (row["slo_scale"], row["gpus"]), default=None)
    if best is not None:
        promise = ", ".join(f"{size} in {slo_s:g} s" for size, slo_s in best["slo_s"].items())
        lines.append(
            f"{best['policy']} on {best['gpus']} keeps {target:g} of {best['slo_scale']:g} times these deadlines: "
            f"{promise}."
        )
    return "\n".join(lines)
