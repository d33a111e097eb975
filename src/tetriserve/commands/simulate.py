"""`tetriserve simulate`."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from tetriserve.bound.solve import fractional_bound, hindsight_bound
from tetriserve.commands.progress import progress_bar
from tetriserve.commands.result_table import result_table
from tetriserve.commands.workload import make_workload
from tetriserve.configuration.declared import declared
from tetriserve.configuration.resolve import resolve
from tetriserve.configuration.tree import Configuration
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.cost.checks import check_profile
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import make_policy
from tetriserve.sim.results import run_row, schedule_rows
from tetriserve.sim.simulate import SimulationConfig, SimulationResult, check_num_devices, simulate
from tetriserve.workload.trace import read_trace

REDRAW_S = 0.1


def run(args: argparse.Namespace) -> None:
    """Simulate every policy, show, and write what was asked for."""
    console = Console()
    policies = tuple(name.strip() for name in args.policy.split(","))
    config = simulation_config(args)
    cost = cost_model(args)
    requests = _requests(args, cost)
    for policy in policies:
        make_policy(policy, cost, args.gpus, config.scheduler)
    with progress_bar(console, "Simulating") as progress:
        results = {
            policy: simulate(
                cost, requests, policy, args.gpus, args.seed, config, _throttled(progress, requests, policy)
            )
            for policy in policies
        }
        progress(len(requests), len(requests), "bound")
        bounds = _bounds(args, cost, requests)
    rows = [run_row(policy, result, not args.no_timing) for policy, result in results.items()]
    document: dict[str, Any] = {"runs": rows, **bounds, "config": _resolved(args, cost, requests, config)}
    console.print(result_table(document))
    if args.json is not None:
        write_json(args.json, document)
    if args.schedule is not None:
        _write_schedule(args.schedule, document["config"], results)


def simulation_config(args: argparse.Namespace) -> SimulationConfig:
    """Faults, and the scheduler's settings as a server with the same flags has them. Raises ConfigurationError."""
    keys = {"config", *(one.key for one in declared(SchedulerConfig))}
    flags = {name: value for name, value in vars(args).items() if name in keys}
    scheduler = resolve(Configuration(), flags).configuration.serving.scheduler
    return SimulationConfig(args.noise_cv, args.failures_per_hour, args.recovery_s, scheduler)


def cost_model(args: argparse.Namespace) -> CostModel:
    """The cost model of the named profile for that many GPUs. Raises ConfigurationError."""
    check_num_devices(args.gpus)
    profile = load_profile(args.profile).with_extrapolated(args.extrapolated)
    check_profile(profile, (), args.gpus, args.profile)
    return CostModel(profile, args.gpus)


def write_json(path: Path, document: Any) -> None:
    """Write a document; equal documents give equal bytes. Raises ConfigurationError."""
    try:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot write: {error}") from error


def _requests(args: argparse.Namespace, cost: CostModel) -> list[Request]:
    entries = make_workload(args) if args.trace is None else read_trace(args.trace)
    check_profile(cost.profile, sorted({entry.size for entry in entries}), args.gpus, args.profile)
    return [entry.to_request() for entry in entries]


def _bounds(args: argparse.Namespace, cost: CostModel, requests: Sequence[Request]) -> dict[str, Any]:
    """`bound_sar`, null unless asked for, and only where asked for `hindsight_sar` and whether it was solved."""
    found: dict[str, Any] = {"bound_sar": None}
    if args.bound:
        found["bound_sar"] = fractional_bound(cost, requests, args.gpus).sar
    if args.hindsight:
        hindsight = hindsight_bound(cost, requests, args.gpus, args.time_limit)
        found |= {"hindsight_sar": hindsight.sar, "hindsight_solved": hindsight.complete}
    return found


def _throttled(
    progress: Callable[[int, int, str], None], requests: Sequence[Request], policy: str
) -> Callable[[int], None]:
    """Moves the bar at most ten times a second."""
    drawn_s = 0.0

    def on_complete(done: int) -> None:
        nonlocal drawn_s
        now_s = time.monotonic()
        if now_s - drawn_s > REDRAW_S:
            drawn_s = now_s
            progress(done, len(requests), policy)

    return on_complete


def _resolved(
    args: argparse.Namespace, cost: CostModel, requests: Sequence[Request], config: SimulationConfig
) -> dict[str, Any]:
    """Everything the results depend on."""
    made = ("mix", "rate", "arrivals", "steps", "slo_scale")
    return {
        "profile": str(args.profile),
        "model": cost.profile.model,
        "gpu": cost.profile.gpu,
        "how": cost.profile.how,
        "extrapolated": args.extrapolated,
        "gpus": args.gpus,
        "trace": None if args.trace is None else str(args.trace),
        "workload": {name: getattr(args, name) for name in made} if args.trace is None else None,
        "num_requests": len(requests),
        "seed": args.seed,
        "simulation": asdict(config),
    }


def _write_schedule(path: Path, config: dict[str, Any], results: dict[str, SimulationResult]) -> None:
    write_json(
        path, {"config": config, "schedules": [schedule_rows(policy, result) for policy, result in results.items()]}
    )
