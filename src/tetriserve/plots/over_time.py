"""Of schedules: SLO attainment and degrees over time, and the distribution of latencies."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from tetriserve.plots.style import new_figure, policy_look, share_axis

Schedule = Mapping[str, Any]
NUM_WINDOWS = 40
SMOOTH = 3
"""Each point of attainment looks at three windows: one alone holds too few requests."""


def attainment_over_time(schedules: Sequence[Schedule]) -> Figure:
    """The share met of those that arrived in a sliding window of time, and how many arrived."""
    figure = new_figure(8.0, 3.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    end_s = _last_arrival_s(schedules)
    width_s = end_s / NUM_WINDOWS
    middles_s = [(window + 0.5) * width_s for window in range(NUM_WINDOWS)]
    for schedule in schedules:
        points = [
            (middle_s, share)
            for middle_s in middles_s
            if (share := _share_met(schedule, middle_s - SMOOTH * width_s / 2, middle_s + SMOOTH * width_s / 2))
            is not None
        ]
        look = _look(schedule, schedules) | {"marker": None}
        upper.plot(*zip(*points, strict=True), label=schedule["policy"], **look)
    share_axis(upper)
    arrivals_s = [request["arrival_s"] for request in schedules[0]["requests"]]
    lower.hist(arrivals_s, bins=NUM_WINDOWS, range=(0, end_s), color="#bbbbbb")
    lower.set_ylabel("arrivals")
    lower.set_xlabel(f"time of arrival, s (windows of {SMOOTH * width_s:.0f} s)")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside right center")
    return figure


def latency_distribution(schedules: Sequence[Schedule]) -> Figure:
    """Which share of all requests had its image within so many seconds; failed ones never have."""
    figure = new_figure(5.6, 3.4)
    axes = figure.subplots()
    for schedule in schedules:
        requests = schedule["requests"]
        latencies_s = sorted(one["finished_s"] - one["arrival_s"] for one in requests if one["error"] is None)
        shares = [(rank + 1) / len(requests) for rank in range(len(latencies_s))]
        look = _look(schedule, schedules) | {"marker": None}
        axes.step(latencies_s, shares, where="post", label=schedule["policy"], **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("latency, s")
    share_axis(axes, "share of requests")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center")
    return figure


def degrees_over_time(schedules: Sequence[Schedule]) -> Figure:
    """The mean degree of running steps, and how many devices work, in each window of time."""
    figure = new_figure(8.0, 3.6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    end_s = _last_arrival_s(schedules)
    width_s = end_s / NUM_WINDOWS
    for schedule in schedules:
        steps = [chunk for chunk in schedule["chunks"] if chunk["stage"] == "denoise"]
        device_s = _spread(steps, width_s, lambda chunk: len(chunk["devices"]))
        busy_s = _spread(steps, width_s, lambda chunk: 1)
        middles_s = [(window + 0.5) * width_s for window in range(NUM_WINDOWS)]
        look = _look(schedule, schedules) | {"marker": None}
        mean_degrees = [
            devices / busy if busy else float("nan") for devices, busy in zip(device_s, busy_s, strict=True)
        ]
        upper.plot(middles_s, mean_degrees, label=schedule["policy"], **look)
        lower.plot(middles_s, [devices / width_s for devices in device_s], **look)
    upper.set_ylabel("mean degree")
    upper.set_ylim(bottom=0)
    lower.set_ylabel("GPUs at work")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("time, s")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside right center")
    return figure


def _look(schedule: Schedule, schedules: Sequence[Schedule]) -> dict[str, Any]:
    return policy_look(schedule["policy"], [other["policy"] for other in schedules])


def _last_arrival_s(schedules: Sequence[Schedule]) -> float:
    return max([request["arrival_s"] for request in schedules[0]["requests"]], default=0.0) or 1.0


def _share_met(schedule: Schedule, from_s: float, to_s: float) -> float | None:
    """Of those that arrived then; None if nobody did."""
    met = [request["met_deadline"] for request in schedule["requests"] if from_s <= request["arrival_s"] < to_s]
    return sum(met) / len(met) if met else None


def _spread(chunks: Sequence[Mapping[str, Any]], width_s: float, weight: Any) -> list[float]:
    """Seconds of chunks x weight in each window; what lies behind the last window is left out."""
    totals = [0.0] * NUM_WINDOWS
    for chunk in chunks:
        first, last = int(chunk["started_s"] / width_s), int(chunk["finished_s"] / width_s)
        for window in range(first, min(last, NUM_WINDOWS - 1) + 1):
            begin_s, end_s = max(chunk["started_s"], window * width_s), min(chunk["finished_s"], (window + 1) * width_s)
            totals[window] += (end_s - begin_s) * weight(chunk)
    return totals
