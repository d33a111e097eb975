"""The charts of one model: attainment, latencies, and what the devices did for a while."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tetriserve.core.errors import ConfigurationError
from tetriserve.evaluation.judge import outcomes
from tetriserve.evaluation.report.grid import Column, Grid
from tetriserve.evaluation.report.tables import heading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_S = 30.0
NUM_SCHEDULES = 2
"""How many policies' schedules are drawn above one another."""


def draw(grid: Grid, directory: Path, prefix: str) -> list[Path]:
    """Write the charts that the results allow. Raises ConfigurationError without matplotlib."""
    try:
        from tetriserve.plots import style  # noqa: PLC0415  (optional, and slow to import)
    except ImportError as error:
        raise ConfigurationError("charts need matplotlib: pip install 'tetriserve[plots]'") from error
    paths = []
    with style.drawing():
        for name, figure in _charts(grid):
            paths += style.save(figure, directory, f"{prefix}-{name}", ["png"])
    return paths


def _charts(grid: Grid) -> Iterator[tuple[str, "Figure"]]:
    from tetriserve.plots.bars import attainment_bars  # noqa: PLC0415
    from tetriserve.plots.over_time import degrees_over_time, latency_distribution  # noqa: PLC0415
    from tetriserve.plots.tetris import busiest, tetris  # noqa: PLC0415

    rows = list(_bars(grid))
    if rows:
        yield "sar", attainment_bars(rows)
    for number, column in enumerate(_first_loads(grid)):
        schedules = [one for name in grid.contenders if (one := _schedule(grid, name, column)) is not None]
        whole = [one for one in schedules if one["chunks"]]
        word = "-".join(heading(column).replace("%", "pct").split())
        if schedules:
            yield f"latency-{word}", latency_distribution(schedules)
        if whole and number == 0:
            yield f"degrees-{word}", degrees_over_time(whole)
            window = busiest(whole[0], SHOWN_S)
            num_devices = max(device for chunk in whole[0]["chunks"] for device in chunk["devices"]) + 1
            yield f"schedule-{word}", tetris(whole[:NUM_SCHEDULES], num_devices, window)


def _first_loads(grid: Grid) -> list[Column]:
    """For each mix the load that the study names first."""
    return [next(column for column in grid.columns if column[0] == mix) for mix in dict(grid.columns)]


def _bars(grid: Grid) -> Iterator[dict[str, Any]]:
    for column in grid.columns:
        for name in grid.contenders:
            for scale in grid.study.scales:
                served = grid.report(name, column, scale)
                simulated = grid.report(name, column, scale, "simulated")
                if served is not None:
                    yield {
                        "panel": heading(column),
                        "policy": name,
                        "slo_scale": scale,
                        "sar": served.total.sar,
                        "simulated_sar": None if simulated is None else simulated.total.sar,
                    }


def _schedule(grid: Grid, name: str, column: Column) -> dict[str, Any] | None:
    """A cell at the first scale in the shape that `tetriserve plot` reads."""
    document = grid.document(name, column, grid.study.scales[0])
    if document is None:
        return None
    judged = outcomes(document, grid.study, grid.study.scales[0])
    known = {row["request_id"] for row in document["requests"]}
    return {
        "policy": name,
        "requests": [
            {
                "request_id": one.request.request_id,
                "size": str(one.request.size),
                "arrival_s": one.request.arrival_s,
                "deadline_s": one.request.deadline_s,
                "finished_s": one.finished_s,
                "met_deadline": one.met_deadline,
                "error": one.error,
            }
            for one in judged
        ],
        "chunks": [chunk for chunk in document["chunks"] if known.issuperset(chunk["request_ids"])],
    }
