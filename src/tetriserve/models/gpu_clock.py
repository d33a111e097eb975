"""How long the GPU takes for something, by its own events."""

import statistics
from collections.abc import Callable

import torch


def samples_ms(run: Callable[[], object], repetitions: int, warm_up: int = 2) -> list[float]:
    """Milliseconds of `repetitions` runs, one by one, after some that don't count."""
    for _ in range(warm_up):
        run()
    times = []
    for _ in range(repetitions):
        begin, end = _event(), _event()
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return times


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def milliseconds(run: Callable[[], object], repetitions: int = 5) -> float:
    """The median of a few runs."""
    return statistics.median(samples_ms(run, repetitions))
