"""Of a plan: how many are on time against how tight the deadlines are, for every machine and policy."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tetriserve.plots.style import new_figure, policy_look, share_axis


def plan_chart(document: Mapping[str, Any]) -> Figure:
    """A panel for each number of GPUs, a line for each policy, the target as a level, the promise as a mark on it."""
    points: Sequence[Mapping[str, Any]] = document["points"]
    counts = list(dict.fromkeys(point["gpus"] for point in points))
    policies = list(dict.fromkeys(point["policy"] for point in points))
    figure = new_figure(2.5 * len(counts) + 1.4, 3.0)
    panels = figure.subplots(1, len(counts), sharex=True, sharey=True, squeeze=False)[0]
    for axes, gpus in zip(panels, counts, strict=True):
        for policy in policies:
            here = [point for point in points if (point["gpus"], point["policy"]) == (gpus, policy)]
            line = sorted((point["slo_scale"], point["sar"]) for point in here)
            axes.plot(*zip(*line, strict=True), label=policy, **policy_look(policy, policies))
        _mark(axes, document, gpus)
        axes.set_title(f"{gpus} GPU{'s' if gpus > 1 else ''}")
        axes.set_xlabel("deadlines / those of the trace")
        axes.set_xscale("log")
        axes.set_xticks((0.2, 0.5, 1, 2, 5))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    share_axis(panels[0], "share on time")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _mark(axes: Axes, document: Mapping[str, Any], gpus: int) -> None:
    """The target, and the least deadlines that keep it."""
    target = document["target_sar"]
    axes.axhline(target, color="#444444", linewidth=0.8, linestyle="dashed")
    axes.axvline(1.0, color="#bbbbbb", linewidth=0.8)
    scales = [row["slo_scale"] for row in document["rows"] if row["gpus"] == gpus and row["slo_scale"] is not None]
    if scales:
        axes.annotate(f"{min(scales):g} x", (min(scales), target), (0, -14), textcoords="offset points", fontsize=8)
        axes.plot([min(scales)], [target], marker="v", color="#444444", markersize=6, zorder=4)
