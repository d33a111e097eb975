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


ALL_FORMATS = "png,svg"
SHOWN_S = 60.0
"""Seconds of a schedule that a chart shows."""


def run(args: argparse.Namespace) -> None:
    """Draw every chart that each file allows."""
    if not 0 < args.for_s < float("inf"):
        raise ConfigurationError(f"--for-s {args.for_s:g}: must be above 0")
    console = Console()
    for path in args.files:
        draw(console, path, read_results(path), args.out, args.format, args.from_s, args.for_s)


def draw(
    console: Console,
    path: Path,
    document: dict[str, Any],
    directory: Path,
    formats: str = ALL_FORMATS,
    from_s: float | None = None,
    for_s: float = SHOWN_S,
) -> None:
    """Draw every chart of a document, named after its `path`, and say where. Raises ConfigurationError."""
    style = check_drawing()
    chosen = _formats(formats, style.FORMATS)
    with style.drawing():
        for name, figure in _charts(path, document, from_s, for_s):
            for written in style.save(figure, directory, f"{path.stem}-{name}", chosen):
                console.print(str(written), highlight=False, soft_wrap=True)


def check_chart(path: Path) -> list[str]:
    """The format that the file's name asks for. Raises ConfigurationError."""
    return _formats(path.suffix.removeprefix("."), check_drawing().FORMATS)


def draw_plan(document: dict[str, Any], path: Path) -> None:
    """The chart of a plan, PNG or SVG as the file's name ends. Raises ConfigurationError."""
    style, formats = check_drawing(), check_chart(path)
    from tetriserve.plots.planning import plan_chart  # noqa: PLC0415

    with style.drawing():
        style.save(plan_chart(document), path.parent, path.stem, formats)


def check_drawing() -> ModuleType:
    """The style of charts. Raises ConfigurationError without matplotlib, which is optional, and slow to import."""
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


def read_results(path: Path) -> dict[str, Any]:
    """A file that simulate, sweep or bench wrote. Raises ConfigurationError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: cannot read results: {error}") from error
    if not isinstance(document, dict) or not {"runs", "means", "schedules", "points"} & document.keys():
        raise ConfigurationError(f"{path}: holds no results of simulate, sweep, plan or bench")
    return document


def _charts(path: Path, document: dict[str, Any], from_s: float | None, for_s: float) -> Iterator[tuple[str, "Figure"]]:
    """Names and charts. Raises ConfigurationError for a document that lacks what its kind should hold."""
    try:
        yield from _sweep_charts(document)
        yield from _size_charts(document)
        yield from _schedule_charts(document, from_s, for_s)
        yield from _plan_charts(document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise ConfigurationError(f"{path}: not the results of simulate, sweep, plan or bench: {error!r}") from error


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


def _schedule_charts(document: dict[str, Any], from_s: float | None, for_s: float) -> Iterator[tuple[str, "Figure"]]:
    from tetriserve.plots.over_time import (  # noqa: PLC0415
        attainment_over_time,
        degrees_over_time,
        latency_distribution,
    )
    from tetriserve.plots.tetris import Window, busiest, tetris  # noqa: PLC0415

    schedules = document.get("schedules", ())
    whole = [schedule for schedule in schedules if schedule["chunks"]]  # a client of a server sees no chunks
    if whole:
        window = busiest(whole[0], for_s) if from_s is None else Window(from_s, from_s + for_s)
        yield "schedule", tetris(whole, document["config"]["gpus"], window)
        yield "degrees-over-time", degrees_over_time(whole)
    if schedules:
        yield "sar-over-time", attainment_over_time(schedules)
        yield "latency", latency_distribution(schedules)
