"""The clairvoyant relaxation as a sparse programme: maximise the (fractions of) requests that end by their deadlines.

Time is cut at every arrival and deadline. In each interval j of its window a request i spends z[i,o,j] seconds on
steps of option o and s[i,j] seconds on its stages; y[i] says how much of it is served. See docs/scheduling.md for
the programme and the proof that no schedule beats it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tetriserve.bound.options import Option, step_options
from tetriserve.core.chunk import Stage
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel

INFINITY = float("inf")


@dataclass(slots=True)
class Programme:
    """maximise the sum of the first `num_requests` variables, each in [0, 1]; all others are at least 0.

    Row r: lower[r] <= sum of value * variable[column] <= upper[r], over the triples (r, column, value) of `cells`.
    """

    num_requests: int
    num_variables: int
    cells: list[tuple[int, int, float]] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)

    def variable(self) -> int:
        """A new variable's column."""
        self.num_variables += 1
        return self.num_variables - 1

    def row(self, lower: float, upper: float) -> int:
        """A new, empty row."""
        self.lower.append(lower)
        self.upper.append(upper)
        return len(self.lower) - 1

    def add(self, row: int, column: int, value: float) -> None:
        """One coefficient."""
        self.cells.append((row, column, value))


@dataclass(frozen=True, slots=True)
class _Interval:
    begin_s: float
    length_s: float
    capacity_row: int


def make_programme(cost: CostModel, requests: Sequence[Request], num_devices: int, whole: bool = False) -> Programme:
    """The relaxation for these requests on that many devices.

    With `whole`, in which y is 0 or 1, the own time of a request in an interval is limited by length x y instead of
    by the length alone: the same for whole requests, and far easier to solve.
    """
    programme = Programme(len(requests), len(requests))
    cuts = sorted({time_s for request in requests for time_s in (request.arrival_s, request.deadline_s)})
    intervals = [
        _Interval(begin_s, end_s - begin_s, programme.row(0.0, num_devices * (end_s - begin_s)))
        for begin_s, end_s in pairwise(cuts)
    ]
    index = {begin_s: number for number, begin_s in enumerate(cuts)}
    for column, request in enumerate(requests):
        window = intervals[index[request.arrival_s] : index[request.deadline_s]]
        _add_request(programme, column, request, window, cost, whole)
    return programme


def _add_request(
    programme: Programme, served: int, request: Request, window: Sequence[_Interval], cost: CostModel, whole: bool
) -> None:
    options = step_options(cost, request.size)
    stages_s = cost.stage_s(Stage.ENCODE, request.size) + cost.stage_s(Stage.DECODE, request.size)
    steps = programme.row(0.0, 0.0)
    programme.add(steps, served, -float(request.num_inference_steps))
    stages = programme.row(0.0, 0.0)
    programme.add(stages, served, -stages_s)
    for interval in window:
        own = programme.row(-INFINITY, 0.0 if whole else interval.length_s)
        if whole:
            programme.add(own, served, -interval.length_s)
        for option in options:
            _add_work(programme, interval, own, steps, option)
        if stages_s > 0:
            _add_work(programme, interval, own, stages, Option(1.0, 1.0))


def _add_work(programme: Programme, interval: _Interval, own: int, total: int, option: Option) -> None:
    """Seconds of a request's life in an interval: they count in its own time, in the machine's and as progress."""
    seconds = programme.variable()
    programme.add(own, seconds, 1.0)
    programme.add(interval.capacity_row, seconds, option.gpu_s / option.own_s)
    programme.add(total, seconds, 1.0 / option.own_s)
