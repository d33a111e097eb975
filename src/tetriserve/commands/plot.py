"""`tetriserve plot`."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tetriserve.core.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def run(args: argparse.Namespace) -> None:
    """Draw every chart that each file allows. Raises ConfigurationError without matplotlib."""
    style = _style()
    formats = _formats(args.format, style.FORMATS)
    if not 0 < args.for_s < float("inf"):
        raise ConfigurationError(f"--for-s {args.for_s:g}: must be above 0")
    console = Console()
    with style.drawing():
        for path in args.files:
            for name, figure in _charts(path, _read(path), args):
                for written in style.save(figure, args.out, f"{path.stem}-{name}", formats):
                    console.print(str(written), highlight=False, soft_wrap=True)


def check_chart(path: Path) -> list[str]:
    """The format that the file's name asks for. Raises ConfigurationError."""
    return _formats(path.suffix.removeprefix("."), _style().FORMATS)


def draw_plan(document: dict[str, Any], path: Path) -> None:
    """The chart of a plan, PNG or SVG as the file's name ends. Raises ConfigurationError."""
    style, formats = _style(), check_chart(path)
    from tetriserve.plots.planning import plan_chart  # noqa: PLC0415

    with style.drawing():
        style.save(plan_chart(document), path.parent, path.stem, formats)


def _style() -> ModuleType:
    """Raises ConfigurationError without matplotlib, which is optional, and slow to import."""
    try:
        from tetriserve.plots import style  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError("charts need matplotlib: pip install 'tetriserve[plots]'") from error
    return style


def _formats(text: str, known: tuple[str, ...]) -> list[str]:
    formats = text.split(",")
    for name in formats:
        if name not in known:
            raise ConfigurationError(f"--format {name!r}: there are {', '.join(known)}")
    return formats


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: cannot read results: {error}") from error
    if not isinstance(document, dict) or not {"runs", "means", "schedules", "points"} & document.keys():
        raise ConfigurationError(f"{path}: holds no results of simulate, sweep or plan")
    return document


def _charts(path: Path, document: dict[str, Any], args: argparse.Namespace) -> Iterator[tuple[str, "Figure"]]:
    """Names and charts. Raises ConfigurationError for a document that lacks what its kind should hold."""
    try:
        yield from _sweep_charts(document)
        yield from _size_charts(document)
        yield from _schedule_charts(document, args)
        yield from _plan_charts(document)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ConfigurationError(f"{path}: not the results of simulate or sweep: {error!r}") from error


def _sweep_charts(document: dict[str, Any]) -> Iterator[tuple[str, "Figure"]]:
    from tetriserve.plots.curves import attainment_curves  # noqa: PLC0415

    for x, name in (("slo_scale", "sar-by-scale"), ("rate_per_min", "sar-by-rate")):
        if len({row[x] for row in document.get("means", ())}) > 1:
            yield name, attainment_curves(document, x)


def _size_charts(document: dict[str, Any]) -> Iterator[tuple[str, "Figure"]]:
    from tetriserve.plots.spider import spider  # noqa: PLC0415

    figure = spider(document.get("runs", ()))
    if figure is not None:
        yield "sizes", figure


def _plan_charts(document: dict[str, Any]) -> Iterator[tuple[str, "Figure"]]:
    from tetriserve.plots.planning import plan_chart  # noqa: PLC0415

    if "points" in document:
        yield "plan", plan_chart(document)


def _schedule_charts(document: dict[str, Any], args: argparse.Namespace) -> Iterator[tuple[str, "Figure"]]:
    from tetriserve.plots.over_time import (  # noqa: PLC0415
        attainment_over_time,
        degrees_over_time,
        latency_distribution,
    )
    from tetriserve.plots.tetris import Window, busiest, tetris  # noqa: PLC0415

    if "schedules" in document:
        schedules, num_devices = document["schedules"], document["config"]["gpus"]
        window = busiest(schedules[0], args.for_s)
        if args.from_s is not None:
            window = Window(args.from_s, args.from_s + args.for_s)
        yield "schedule", tetris(schedules, num_devices, window)
        yield "sar-over-time", attainment_over_time(schedules)
        yield "degrees-over-time", degrees_over_time(schedules)
        yield "latency", latency_distribution(schedules)
