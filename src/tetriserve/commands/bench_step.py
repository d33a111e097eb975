"""`tetriserve bench step`."""

import argparse
import itertools
import json
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from tetriserve.commands.options import check_writable
from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.cost.batches import batches_for
from tetriserve.engine.devices import count_gpus
from tetriserve.runtime.config import read_sizes
from tetriserve.stepbench.cells import CONTENDERS, OURS, Measured, StepCell, best_peer
from tetriserve.stepbench.run import StepRun
from tetriserve.stepbench.run import run as run_contenders


def run(args: argparse.Namespace) -> None:
    """Print the floor, measure everybody, print the table; the last line is JSON."""
    if not 1 <= args.steps <= 1000:
        raise ConfigurationError(f"--steps {args.steps}: must be from 1 to 1000")
    cells, contenders = _cells(args), _contenders(args.contenders)
    if args.json is not None:
        check_writable(args.json)
    console = Console()
    report = run_contenders(
        cells,
        contenders,
        args.steps,
        on_floors=lambda floors: _print_floors(console, floors),
        on_result=lambda result: console.print(_line(result), highlight=False),
    )
    console.print(_table(report))
    content = {"measured_on": time.strftime("%Y-%m-%d"), "steps": args.steps, **report.to_json()}
    if args.json is not None:
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(content))  # noqa: T201  (for programs: no wrapping, no colours)


def _cells(args: argparse.Namespace) -> list[StepCell]:
    """Sizes x GPUs x batches; batches only where they can pay. Raises ConfigurationError."""
    available = count_gpus()
    if available == 0:
        raise ConfigurationError("bench step measures GPUs, and none is visible here")
    wanted = [int(part) if part.isdecimal() else 0 for part in args.gpus.split(",")]
    if any(degree < 1 or degree & (degree - 1) or degree > available for degree in wanted):
        raise ConfigurationError(f"--gpus {args.gpus}: powers of two up to the {available} GPUs that are visible")
    try:
        sizes = read_sizes(args.sizes)
    except InvalidRequestError as error:
        raise ConfigurationError(f"--sizes: {error}") from error
    return [
        StepCell(size, batch, degree)
        for degree, size in itertools.product(wanted, sizes)
        for batch in batches_for(size)
    ]


def _contenders(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise ConfigurationError(f"--contenders {unknown[0]!r}: there are {', '.join(CONTENDERS)}")
    return names


def _print_floors(console: Console, floors: StepRun) -> None:
    console.print(
        f"{floors.gpu}, torch {floors.torch}: bf16 products {floors.flops / 1e12:.0f} TFLOP/s, copies "
        f"{floors.bytes_per_s / 1e12:.2f} TB/s. Floors (work over these ceilings, exchanges for nothing):",
        highlight=False,
    )
    for cell, floor_ms in floors.floors_ms.items():
        console.print(f"  {_name(cell)}: {floor_ms:.1f} ms", highlight=False)


def _line(result: Measured) -> str:
    what = f"{result.contender}, {_name(result.cell)}"
    if result.median_ms is None:
        return f"{what}: [yellow]{result.failure}[/]"
    return f"{what}: {result.median_ms:.2f} ms ({min(result.samples_ms):.2f} to {max(result.samples_ms):.2f})"


def _name(cell: StepCell) -> str:
    return f"{cell.size} x {cell.batch} on {cell.degree} GPU{'s' if cell.degree > 1 else ''}"


def _table(report: StepRun) -> Table:
    table = Table(title=f"One step of FLUX.1-dev in ms, median, bf16, {report.gpu}")
    names = [name for name in CONTENDERS if any(result.contender == name for result in report.results)]
    for heading in ("cell", "floor", *names, "to best peer", "share of floor"):
        table.add_column(heading, justify="left" if heading == "cell" else "right")
    for cell, floor_ms in report.floors_ms.items():
        found = {result.contender: result.median_ms for result in report.results if result.cell == cell}
        medians = (_ms(found.get(name)) for name in names)
        table.add_row(_name(cell), f"{floor_ms:.1f}", *medians, *_verdict(report, cell))
    return table


def _verdict(report: StepRun, cell: StepCell) -> tuple[str, str]:
    """Ours over the best peer's, and the floor over ours."""
    ours: Any = next((r.median_ms for r in report.results if r.cell == cell and r.contender == OURS), None)
    peer = best_peer(report.results, cell)
    ratio = f"{ours / peer.median_ms:.2f}" if ours and peer and peer.median_ms else "-"
    return ratio, f"{report.floors_ms[cell] / ours:.0%}" if ours else "-"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
