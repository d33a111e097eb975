"""SLO attainment of policies side by side: a panel for each mix and load, a group of bars for each scale."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tetriserve.plots.style import new_figure, policy_look, share_axis

PANELS_PER_ROW = 2
GROUP_WIDTH = 0.85


def attainment_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Rows have `panel`, `slo_scale`, `policy`, `sar`, and maybe `simulated_sar`, which is marked across the bar."""
    panels = list(dict.fromkeys(row["panel"] for row in rows))
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    columns = min(len(panels), PANELS_PER_ROW)
    height = math.ceil(len(panels) / columns)
    figure = new_figure(4.2 * columns + 1.4, 2.5 * height + 0.2)
    axes = figure.subplots(height, columns, sharey=True, squeeze=False).flat
    for panel, here in zip(panels, axes, strict=False):
        _panel(here, [row for row in rows if row["panel"] == panel], policies)
        here.set_title(panel)
    for unused in list(axes)[len(panels) :]:
        unused.set_visible(False)
    share_axis(figure.axes[0])
    handles = [Patch(color=policy_look(policy, policies)["color"], label=policy) for policy in policies]
    figure.legend(handles=handles, loc="outside right center")
    return figure


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], policies: Sequence[str]) -> None:
    scales = sorted({row["slo_scale"] for row in rows})
    width = GROUP_WIDTH / len(policies)
    for index, policy in enumerate(policies):
        own = [row for row in rows if row["policy"] == policy]
        places = [scales.index(row["slo_scale"]) + (index + 0.5) * width - GROUP_WIDTH / 2 for row in own]
        shares = [row["sar"] for row in own]
        axes.bar(places, shares, 0.9 * width, color=policy_look(policy, policies)["color"])
        for at, row in zip(places, own, strict=True):
            if row.get("simulated_sar") is not None:
                axes.plot([at], [row["simulated_sar"]], marker="_", color="black", ms=7)
    axes.set_xticks(range(len(scales)), [f"{scale:g}" for scale in scales])
    axes.set_xlabel("SLO scale (a dash: simulated)")
    axes.grid(visible=False, axis="x")
