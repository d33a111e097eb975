"""`tetriserve sweep`."""

import argparse
import os
from collections.abc import Iterator, Sequence

from rich.console import Console

from tetriserve.commands.progress import progress_bar
from tetriserve.commands.simulate import cost_model, simulation_config, write_json
from tetriserve.commands.sweep_table import sweep_tables
from tetriserve.core.errors import ConfigurationError
from tetriserve.scheduler.policies import make_policy
from tetriserve.sim.parallel import run_cells
from tetriserve.sim.sweep import BOUND, HINDSIGHT, Cell, Grid, Row, SweepConfig, make_requests, sweep


def run(args: argparse.Namespace) -> None:
    """Run all cells, show the means over seeds, write everything."""
    console = Console()
    config, grid = _config(args), _grid(args)
    _check(args, config, grid)
    journal = args.json.with_name(f"{args.json.name}.partial")
    num_processes = args.jobs or os.cpu_count() or 1
    with progress_bar(console, "Sweeping") as progress:

        def run_all(config: SweepConfig, cells: Sequence[Cell]) -> Iterator[Row]:
            return run_cells(config, cells, num_processes, journal, progress)

        document = sweep(config, grid, run_all)
    write_json(args.json, document)
    journal.unlink(missing_ok=True)
    for table in sweep_tables(document, console.width):
        console.print(table)


def _config(args: argparse.Namespace) -> SweepConfig:
    return SweepConfig(
        profile=args.profile,
        num_devices=args.gpus,
        arrivals=args.arrivals,
        num_requests=args.num_requests,
        num_inference_steps=args.steps,
        timing=not args.no_timing,
        limit_s=args.time_limit,
        extrapolated=args.extrapolated,
        simulation=simulation_config(args),
    )


def _grid(args: argparse.Namespace) -> Grid:
    if args.seeds < 1:
        raise ConfigurationError(f"--seeds {args.seeds}: must be at least 1")
    return Grid(
        policies=tuple(args.policy.split(",")),
        mixes=tuple(args.mix.split("/")),
        rates_per_min=_numbers("--rate", args.rate),
        slo_scales=_numbers("--slo-scale", args.slo_scale),
        seeds=tuple(range(args.seed, args.seed + args.seeds)),
        solvers=(BOUND,) * args.bound + (HINDSIGHT,) * args.hindsight,
    )


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"{flag} {text!r}: must be numbers with commas between them") from None


def _check(args: argparse.Namespace, config: SweepConfig, grid: Grid) -> None:
    """Every fault is found before the first cell runs. Raises ConfigurationError."""
    if args.jobs < 0:
        raise ConfigurationError(f"--jobs {args.jobs}: must be at least 1")
    if not args.json.parent.is_dir():
        raise ConfigurationError(f"--json {args.json}: not a file in an existing directory")
    cost = cost_model(args)
    for policy in grid.policies:
        make_policy(policy, cost, args.gpus, config.simulation.scheduler)
    for mix in grid.mixes:
        for rate_per_min in grid.rates_per_min:
            for scale in grid.slo_scales:
                make_requests(config, Cell(mix, rate_per_min, scale, args.seed, ""), cost)
