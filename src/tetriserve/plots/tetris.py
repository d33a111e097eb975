"""The schedule itself: GPUs over time, one colour a request, and above them every request from arrival to deadline."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from tetriserve.plots.style import REQUEST_COLOURS, new_figure, short_size

Schedule = Mapping[str, Any]
HATCH = "/////"
GAP_S = 1e-3
LABEL_SHARE = 0.028
"""A block gets a label if it is at least this share of the time shown wide."""


@dataclass(frozen=True, slots=True)
class Window:
    """The seconds shown."""

    from_s: float
    to_s: float

    def shows(self, begin_s: float, end_s: float) -> bool:
        """Whether any of it is inside."""
        return begin_s < self.to_s and end_s > self.from_s


@dataclass(frozen=True, slots=True)
class _Block:
    """Chunks of the same requests on the same devices without a gap between them."""

    request_ids: tuple[str, ...]
    devices: tuple[int, ...]
    begin_s: float
    end_s: float


def tetris(schedules: Sequence[Schedule], num_devices: int, window: Window) -> Figure:
    """For each policy its requests and its GPUs, on one axis of time."""
    lanes = [_lanes(_shown(schedule, window)) for schedule in schedules]
    heights = [height for used in lanes for height in (0.24 * (max(used.values(), default=0) + 2), 0.3 * num_devices)]
    figure = new_figure(11.0, sum(heights) + 0.62 * len(schedules) + 0.5)
    panels = figure.subplots(2 * len(schedules), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for index, (schedule, used) in enumerate(zip(schedules, lanes, strict=True)):
        _draw_requests(panels[2 * index], schedule, used, window)
        _draw_devices(panels[2 * index + 1], schedule, num_devices, window)
    panels[-1].set_xlabel("time, s")
    panels[-1].set_xlim(window.from_s, window.to_s)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4)
    return figure


def busiest(schedule: Schedule, length_s: float) -> Window:
    """Of the windows that begin with an arrival, the first with the most arrivals."""
    arrivals_s = sorted(request["arrival_s"] for request in schedule["requests"])
    counts = [bisect_left(arrivals_s, at_s + length_s) - index for index, at_s in enumerate(arrivals_s)]
    from_s = arrivals_s[counts.index(max(counts))] if arrivals_s else 0.0
    return Window(from_s, from_s + length_s)


def _shown(schedule: Schedule, window: Window) -> list[Mapping[str, Any]]:
    """Requests in order of arrival that have anything to do with the window."""
    requests = sorted(schedule["requests"], key=lambda request: (request["arrival_s"], request["request_id"]))
    return [one for one in requests if window.shows(one["arrival_s"], max(one["deadline_s"], one["finished_s"]))]


def _lanes(requests: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """A lane for each request in which nobody else is from its arrival to its deadline or end."""
    free_s: list[float] = []
    lanes: dict[str, int] = {}
    for request in requests:
        end_s = max(request["deadline_s"], request["finished_s"])
        lane = next((i for i, at_s in enumerate(free_s) if at_s <= request["arrival_s"]), len(free_s))
        free_s[lane : lane + 1] = [end_s + 0.5]
        lanes[request["request_id"]] = lane
    return lanes


def _colours(schedule: Schedule) -> dict[str, Any]:
    ids = [request["request_id"] for request in sorted(schedule["requests"], key=lambda one: one["arrival_s"])]
    return {id_: REQUEST_COLOURS[index % len(REQUEST_COLOURS)] for index, id_ in enumerate(ids)}


def _draw_requests(axes: Axes, schedule: Schedule, lanes: Mapping[str, int], window: Window) -> None:
    colours = _colours(schedule)
    for request in _shown(schedule, window):
        lane, colour = lanes[request["request_id"]], colours[request["request_id"]]
        late = not request["met_deadline"]
        arrival_s, deadline_s, finished_s = (request[name] for name in ("arrival_s", "deadline_s", "finished_s"))
        body = Rectangle((arrival_s, lane - 0.32), deadline_s - arrival_s, 0.64, facecolor=colour, alpha=0.35, lw=0)
        axes.add_patch(body)
        axes.plot([deadline_s] * 2, [lane - 0.42, lane + 0.42], color="black", lw=1.6, solid_capstyle="butt")
        if late:
            axes.plot([deadline_s, finished_s], [lane] * 2, color="#c00000", lw=1.0, linestyle=(0, (2, 1)))
        axes.plot([finished_s], [lane], marker="o", ms=4.5, color="#c00000" if late else colour, mec="black", mew=0.5)
        if arrival_s >= window.from_s:
            text = short_size(request["size"])
            axes.text(arrival_s + 0.1, lane, text, va="center", fontsize=6.5, color="#333333", clip_on=True)
    met = sum(request["met_deadline"] for request in schedule["requests"])
    share = met / max(1, len(schedule["requests"]))
    axes.set_title(f"{schedule['policy']}: {met} of {len(schedule['requests'])} on time ({share:.0%})", loc="left")
    axes.set_ylim(-0.8, max(lanes.values(), default=0) + 0.8)
    axes.set_yticks([])
    axes.set_ylabel("requests")
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")


def _draw_devices(axes: Axes, schedule: Schedule, num_devices: int, window: Window) -> None:
    colours = _colours(schedule)
    requests = {request["request_id"]: request for request in schedule["requests"]}
    for block in _blocks(schedule["chunks"]):
        if not window.shows(block.begin_s, block.end_s):
            continue
        first = requests[block.request_ids[0]]
        late = any(not requests[id_]["met_deadline"] for id_ in block.request_ids)
        size = (block.end_s - block.begin_s, len(block.devices) - 0.12)
        axes.add_patch(
            Rectangle(
                (block.begin_s, block.devices[0] - 0.44),
                *size,
                facecolor=colours[first["request_id"]],
                edgecolor="white",
                linewidth=0.6,
                hatch=HATCH if late else None,
            )
        )
        _label(axes, block, short_size(first["size"]), len(block.request_ids), window)
    axes.set_ylim(num_devices - 0.5, -0.5)
    axes.set_yticks(range(num_devices))
    axes.set_ylabel("GPU")
    axes.grid(visible=False, axis="y")


def _label(axes: Axes, block: _Block, size: str, batch: int, window: Window) -> None:
    begin_s, end_s = max(block.begin_s, window.from_s), min(block.end_s, window.to_s)
    if end_s - begin_s < LABEL_SHARE * (window.to_s - window.from_s):
        return
    text = size if batch == 1 else f"{batch} x {size}"
    middle = block.devices[0] + (len(block.devices) - 1) / 2
    look = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
    centre = ((begin_s + end_s) / 2, middle)
    axes.text(*centre, text, ha="center", va="center", fontsize=6.5, color="black", clip_on=True, bbox=look)


def _blocks(chunks: Sequence[Mapping[str, Any]]) -> list[_Block]:
    """Chunks in order of their start, merged where only planning separates them."""
    last: dict[tuple[tuple[str, ...], tuple[int, ...]], int] = {}
    blocks: list[_Block] = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk["started_s"], chunk["devices"])):
        key = tuple(chunk["request_ids"]), tuple(chunk["devices"])
        index = last.get(key)
        if index is not None and chunk["started_s"] - blocks[index].end_s < GAP_S:
            blocks[index] = replace(blocks[index], end_s=chunk["finished_s"])
        else:
            last[key] = len(blocks)
            blocks.append(_Block(*key, chunk["started_s"], chunk["finished_s"]))
    return blocks


def _legend() -> list[Any]:
    return [
        Patch(facecolor="#bbbbbb", alpha=0.6, label="arrival to deadline"),
        Line2D([], [], color="black", lw=0, marker="|", ms=9, mew=1.6, label="deadline"),
        Line2D([], [], color="#bbbbbb", lw=0, marker="o", mec="black", mew=0.5, label="done (red: late)"),
        Patch(facecolor="#bbbbbb", edgecolor="white", hatch=HATCH, label="work for a late request"),
    ]
