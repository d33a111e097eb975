"""`tetriserve sweep`."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from math import isnan, nan
from typing import Any

from rich.console import Console
from rich.table import Table

from tetriserve.commands.progress import progress_bar
from tetriserve.commands.simulate import cost_model, simulation_config, write_json
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
    console.print(_table(document))


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


def _table(document: dict[str, Any]) -> Table:
    """One row a cell, one column a policy: mean SAR over seeds."""
    grid = document["config"]["grid"]
    columns = [*grid["policies"], *grid["solvers"]]
    table = Table(title=f"SLO attainment, mean of {len(grid['seeds'])} seeds", box=None, padding=(0, 0, 0, 1))
    for heading in ("mix", "rate", "scale", *columns):
        table.add_column(heading, justify="left" if heading == "mix" else "right", overflow="fold")
    by_cell: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in document["means"]:
        by_cell.setdefault((row["mix"], row["rate_per_min"], row["slo_scale"]), {})[row["policy"]] = row["sar"]
    for (mix, rate_per_min, scale), sar in by_cell.items():
        table.add_row(mix, f"{rate_per_min:g}", f"{scale:g}", *(f"{sar[name]:.3f}" for name in columns))
    mean = _overall(document["means"])
    table.add_row("mean", "", "", *(f"[bold]{mean(name, 'sar'):.3f}[/]" for name in columns))
    for solver in grid["solvers"]:
        table.add_row(f"of {solver}", "", "", *(f"{mean(name, f'of_{solver}'):.3f}" for name in columns))
    shown = (_number(mean(name, "gpu_s_per_on_time_image")) for name in columns)
    table.add_row("GPU s / on time", "", "", *shown)
    return table


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.1f}"


def _overall(rows: Sequence[Row]) -> Callable[[str, str], float]:
    """The mean over cells of a number of a policy; NaN if it is not in all cells."""

    def mean(policy: str, number: str) -> float:
        values: list[float] = [row.get(number, nan) for row in rows if row["policy"] == policy]
        return sum(values) / len(values)

    return mean
