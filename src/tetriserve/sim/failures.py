"""Workers that die at random times, for as long as there is work."""

import random
from functools import partial
from typing import TYPE_CHECKING

from tetriserve.core.events import WorkersLost

if TYPE_CHECKING:
    from tetriserve.sim.simulate import Simulation


def schedule_failures(simulation: "Simulation", per_hour: float, seed: int) -> None:
    """Let one worker die after another, with exponential gaps; `per_hour` counts those of the whole machine.

    The gaps are in virtual time from the start, whatever the policy does.
    """
    if per_hour > 0:
        _schedule_next(simulation, per_hour, random.Random(f"{seed}/failures"))


def _schedule_next(simulation: "Simulation", per_hour: float, source: random.Random) -> None:
    at_s = simulation.clock.now_s() + source.expovariate(per_hour / 3600)
    device = source.randrange(simulation.executor.num_devices)
    simulation.clock.call_at(at_s, WorkersLost.rank, partial(_fail, simulation, per_hour, source, device))


def _fail(simulation: "Simulation", per_hour: float, source: random.Random, device: int) -> None:
    if not simulation.finished:
        simulation.executor.lose_workers((device,))
        _schedule_next(simulation, per_hour, source)
