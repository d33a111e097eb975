"""SLO attainment by size, one spoke a size: which images a policy sacrifices for which."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from tetriserve.plots.style import new_figure, policy_look, short_size

PANELS_PER_ROW = 3
MIN_SPOKES = 3


def spider(rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """A panel for each mix that has three sizes or more (None if no mix has), means over all its runs."""
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[row.get("mix", "")][row["policy"]].append(row["by_size"])
    wide = {mix: by_policy for mix, by_policy in groups.items() if len(_sizes(by_policy)) >= MIN_SPOKES}
    if not wide:
        return None
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    columns = min(len(wide), PANELS_PER_ROW)
    figure = new_figure(3.3 * columns + 1.3, 3.3 * math.ceil(len(wide) / columns))
    for index, (mix, by_policy) in enumerate(wide.items()):
        axes = figure.add_subplot(math.ceil(len(wide) / columns), columns, index + 1, projection="polar")
        sizes = _sizes(by_policy)
        angles = [2 * math.pi * spoke / len(sizes) for spoke in range(len(sizes))]
        for policy, runs in by_policy.items():
            shares = [_mean_sar(runs, size) for size in sizes]
            look = policy_look(policy, policies)
            axes.plot([*angles, angles[0]], [*shares, shares[0]], label=policy, **look)
            axes.fill(angles, shares, color=look["color"], alpha=0.06)
        axes.set_xticks(angles, [short_size(size) for size in sizes])
        axes.tick_params(axis="x", pad=6)
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"])
        axes.set_ylim(0, 1.0)
        axes.set_title(f"SLO attainment by size{', ' * bool(mix)}{mix}", pad=14)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def _sizes(by_policy: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """All sizes, smallest first."""
    sizes = {size for runs in by_policy.values() for by_size in runs for size in by_size}
    return sorted(sizes, key=lambda size: math.prod(int(side) for side in size.split("x")))


def _mean_sar(runs: Sequence[Mapping[str, Any]], size: str) -> float:
    """Of all images of a size together: runs with more of them weigh more."""
    found = [by_size[size] for by_size in runs if size in by_size]
    counts: list[int] = [one["num_requests"] for one in found]
    met = math.fsum(one["sar"] * count for one, count in zip(found, counts, strict=True))
    return met / max(1, sum(counts))
