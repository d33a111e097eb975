"""A workload made up from a seed."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.params import MAX_STEPS
from tetriserve.core.size import Size
from tetriserve.workload.arrivals import arrival_times_s
from tetriserve.workload.mixes import Mix
from tetriserve.workload.prompts import PROMPTS
from tetriserve.workload.trace import TraceEntry


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """What to make. Source of the defaults: TetriServe §6.1 (300 prompts, Poisson, 12 a minute, 28 steps of FLUX.1)."""

    mix: Mix
    num_requests: int = 300
    arrivals: str = "poisson"
    rate_per_min: float = 12.0
    num_inference_steps: int = 28
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_requests < 1:
            raise ConfigurationError(f"num_requests is {self.num_requests}, must be at least 1")
        if not 1 <= self.num_inference_steps <= MAX_STEPS:
            raise ConfigurationError(f"num_inference_steps is {self.num_inference_steps}, must be 1 to {MAX_STEPS}")


def generate(
    config: WorkloadConfig, slo_s: Callable[[Size], float], prompts: Sequence[str] = PROMPTS
) -> tuple[TraceEntry, ...]:
    """Entries in order of arrival; `slo_s` says the seconds allowed for a size. Equal seeds give equal workloads.

    Times, sizes and prompts are drawn from sources of their own: another rate leaves the sizes as they are.
    """
    if not prompts:
        raise ConfigurationError("a workload needs at least one prompt")
    times, sizes, words = (random.Random(f"{config.seed}/{what}") for what in ("arrivals", "sizes", "prompts"))
    arrivals_s = arrival_times_s(config.arrivals, config.rate_per_min, times)
    drawn = sizes.choices(list(config.mix), weights=list(config.mix.values()), k=config.num_requests)
    width = len(str(config.num_requests - 1))
    return tuple(
        TraceEntry(
            request_id=f"r{index:0{width}}",
            arrival_s=next(arrivals_s),
            width=size.width,
            height=size.height,
            num_inference_steps=config.num_inference_steps,
            slo_s=slo_s(size),
            prompt=words.choice(prompts),
        )
        for index, size in enumerate(drawn)
    )
