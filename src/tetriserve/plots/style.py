"""How all charts look: one colour a policy, whatever the chart, and files that are the same for the same data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tetriserve.core.errors import ConfigurationError

OWN = {"default": "#d62728", "tetriserve": "#1f77b4"}
OTHERS = ("#7f7f7f", "#bcbd22", "#17becf", "#8c564b", "#e377c2", "#2ca02c", "#9467bd", "#ff7f0e", "#000000")
BOUNDS = {"bound": "dashed", "hindsight": "dotted"}
MARKERS = "osD^vP*Xph<>"
REQUEST_COLOURS = tuple(mpl.colormaps["tab20"](index) for index in (*range(0, 20, 2), *range(1, 20, 2)))
"""Strong colours first; requests take them in order of arrival."""

SETTINGS = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "legend.frameon": False,
    "hatch.linewidth": 0.7,
    "svg.hashsalt": "tetriserve",
    "svg.fonttype": "none",
}
METADATA: dict[str, dict[str, Any]] = {"png": {"Software": None}, "svg": {"Date": None}}
FORMATS = tuple(METADATA)


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure that belongs to no window. Draw inside `drawing()`."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def drawing() -> Any:
    """The context in which charts are made and saved."""
    return mpl.rc_context(cast(Any, SETTINGS))


def policy_look(policy: str, policies: Sequence[str]) -> dict[str, Any]:
    """Colour, marker and line of a policy among others; ours are drawn stronger."""
    if policy in BOUNDS:
        return {"color": "#444444", "linestyle": BOUNDS[policy], "linewidth": 1.2, "zorder": 1}
    others = [name for name in policies if name not in OWN and name not in BOUNDS]
    colour = OWN.get(policy) or OTHERS[others.index(policy) % len(OTHERS)]
    marker = MARKERS[list(policies).index(policy) % len(MARKERS)]
    strength = {"linewidth": 2.0, "zorder": 3} if policy in OWN else {"linewidth": 1.2, "zorder": 2}
    return {"color": colour, "marker": marker, "markersize": 4.0, **strength}


def share_axis(axes: Axes, label: str = "SLO attainment") -> None:
    """A y axis from 0 to 1."""
    axes.set_ylim(0, 1.03)
    axes.set_ylabel(label)


def short_size(size: str) -> str:
    """`1024²` for 1024x1024."""
    width, _, height = size.partition("x")
    return f"{width}²" if width == height else size


def save(figure: Figure, directory: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Write the figure in every format. Raises ConfigurationError."""
    paths = [directory / f"{name}.{suffix}" for suffix in formats]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, suffix in zip(paths, formats, strict=True):
            figure.savefig(path, dpi=160, metadata=METADATA[suffix])
    except OSError as error:
        raise ConfigurationError(f"{directory}: cannot write charts: {error}") from error
    return paths
