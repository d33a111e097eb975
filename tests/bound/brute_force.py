"""The most deadlines any schedule can meet, by trying all: an independent second opinion on bounds.

Any schedule can be shifted to the left until every task starts at an arrival or at the end of another task without
ending later, so trying all starts at such times tries everything. Devices are a number only, not blocks: what is
found is at least what any policy can reach.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

from tetriserve.core.chunk import Stage
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel

Task = dict[int, float]
"""Seconds by degree."""

Running = tuple[tuple[float, int, int], ...]
"""(end, request, degree), ascending."""


def most_deadlines_met(cost: CostModel, requests: Sequence[Request], num_devices: int) -> int:
    tasks = [_tasks(cost, request) for request in requests]
    deadlines_s = [request.deadline_s for request in requests]
    arrivals_s = sorted({request.arrival_s for request in requests})

    @cache
    def best(now_s: float, done: tuple[int, ...], running: Running) -> int:
        """Deadlines met from here on; every task ended or started is counted in `done`."""
        busy = {index for _, index, _ in running}
        free = num_devices - sum(degree for _, _, degree in running)
        ready = [
            index
            for index, request in enumerate(requests)
            if request.arrival_s <= now_s and index not in busy and done[index] < len(tasks[index])
        ]
        return max(after(now_s, done, running, choice) for choice in choices(ready, done, free))

    def choices(ready: list[int], done: tuple[int, ...], free: int) -> Iterator[dict[int, int]]:
        ways = [[0, *(degree for degree in tasks[index][done[index]] if degree <= free)] for index in ready]
        for degrees in product(*ways):
            if sum(degrees) <= free:
                yield {index: degree for index, degree in zip(ready, degrees, strict=True) if degree}

    def after(now_s: float, done: tuple[int, ...], running: Running, choice: dict[int, int]) -> int:
        started = [(now_s + tasks[index][done[index]][degree], index, degree) for index, degree in choice.items()]
        done = tuple(count + (index in choice) for index, count in enumerate(done))
        flying = sorted((*running, *started))
        times_s = [end_s for end_s, _, _ in flying] + [time_s for time_s in arrivals_s if time_s > now_s]
        if not times_s:
            return 0
        next_s = min(times_s)
        ended = [index for end_s, index, _ in flying if end_s <= next_s]
        met = sum(done[index] == len(tasks[index]) and next_s <= deadlines_s[index] + 1e-9 for index in ended)
        return met + best(next_s, done, tuple(flight for flight in flying if flight[0] > next_s))

    return best(min(arrivals_s), (0,) * len(requests), ())


def _tasks(cost: CostModel, request: Request) -> list[Task]:
    step = {degree: cost.step_s(request.size, degree) for degree in cost.degrees}
    encode, decode = ({1: cost.stage_s(stage, request.size)} for stage in (Stage.ENCODE, Stage.DECODE))
    stages = (encode, *[step] * request.num_inference_steps, decode)
    return [task for task in stages if min(task.values()) > 0]
