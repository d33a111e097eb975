"""Of a sweep: SLO attainment against the SLO scale, and against the rate of arrivals."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tetriserve.plots.style import new_figure, policy_look, share_axis

AXES: Mapping[str, tuple[str, str]] = {
    "slo_scale": ("SLO scale", "rate_per_min"),
    "rate_per_min": ("requests per minute", "slo_scale"),
}
"""What is on the x axis: its label, and what tells the columns of panels apart."""

MAX_TICKS = 8
TITLES = {"rate_per_min": "{:g} requests a minute", "slo_scale": "SLO scale {:g}"}


def attainment_curves(document: Mapping[str, Any], x: str) -> Figure:
    """A row of panels for each mix; a line for each policy; means over seeds."""
    rows: Sequence[Mapping[str, Any]] = document["means"]
    label, by = AXES[x]
    mixes, columns, policies = (_distinct(rows, name) for name in ("mix", by, "policy"))
    figure = new_figure(2.6 * len(columns) + 1.4, 2.4 * len(mixes) + 0.3)
    panels = figure.subplots(len(mixes), len(columns), sharex=True, sharey=True, squeeze=False)
    for i, mix in enumerate(mixes):
        for j, column in enumerate(columns):
            here = [row for row in rows if (row["mix"], row[by]) == (mix, column)]
            _panel(panels[i][j], here, x, policies)
            panels[i][j].set_title(f"{mix}, {TITLES[by].format(column)}")
            if i == len(mixes) - 1:
                panels[i][j].set_xlabel(label)
                panels[i][j].set_xticks(sorted(_distinct(rows, x))[:MAX_TICKS])
                panels[i][j].xaxis.set_major_formatter("{x:g}")
        share_axis(panels[i][0])
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], x: str, policies: Sequence[str]) -> None:
    for policy in policies:
        points = sorted((row[x], row["sar"]) for row in rows if row["policy"] == policy)
        axes.plot(*zip(*points, strict=True), label=policy, **policy_look(policy, policies))


def _distinct(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Values in order of their first row."""
    return list(dict.fromkeys(row[name] for row in rows))
