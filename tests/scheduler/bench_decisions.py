"""How long does one decision take as machines and queues grow?

Theory: a decision looks at every pending request once (the floor, about 1 us each here) and plans at most 16 cells of 8
devices, each with 8 waiting requests at most, so time grows with the queue and, up to 128 devices, with the machine.
Output: a line per case, the processor time of Scheduler.on(Tick) in ms (the policy, the view, checks and chunks);
the last line is JSON. All requests arrive at once; deadlines are those of the paper times 1 (overload), 5 and 50.

    python tests/scheduler/bench_decisions.py PROFILE.json [POLICY]
"""

import contextlib
import json
import random
import sys
import time
from pathlib import Path

from tetriserve.core.commands import Command
from tetriserve.core.events import Event, Tick
from tetriserve.core.request import Request
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile
from tetriserve.metrics.attainment import quantile
from tetriserve.scheduler.policies import make_policy
from tetriserve.scheduler.scheduler import Scheduler
from tetriserve.sim.executor import Faults
from tetriserve.sim.simulate import Simulation

CASES = ((8, 10), (8, 100), (8, 1000), (64, 1000), (256, 4000), (1024, 10000))
SLO_SCALES = (1.0, 5.0, 50.0)
NUM_DECISIONS = 400


class EnoughError(Exception):
    """As many decisions as wanted were measured."""


class TimedScheduler(Scheduler):
    """Measures its decisions."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.decision_ms: list[float] = []

    def on(self, event: Event, now_s: float) -> tuple[Command, ...]:
        begin_s = time.thread_time()
        commands = super().on(event, now_s)
        if isinstance(event, Tick):
            self.decision_ms.append((time.thread_time() - begin_s) * 1e3)
            if len(self.decision_ms) == NUM_DECISIONS:
                raise EnoughError
        return commands


def measure(policy: str, profile: Profile, num_devices: int, num_pending: int, slo_scale: float) -> dict[str, float]:
    """Quantiles of the first decisions over `num_pending` requests."""
    cost, source = CostModel(profile, num_devices), random.Random(0)
    requests = []
    for index in range(num_pending):
        size = source.choice(list(PAPER_SLO_S))
        due_s = source.uniform(0.3, 1.0) * PAPER_SLO_S[size] * slo_scale
        requests.append(Request(f"r{index:05d}", "a red apple", size, 28, 3.5, 0, 0.0, due_s))
    scheduler = TimedScheduler(make_policy(policy, cost, num_devices), cost, num_devices)
    with contextlib.suppress(EnoughError):
        Simulation(cost, num_devices, scheduler, Faults(0.01, 1)).run(requests)
    times_ms = sorted(scheduler.decision_ms)
    return {name: round(quantile(times_ms, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def main() -> None:
    """Measure every case."""
    profile, policy = Profile.load(Path(sys.argv[1])), (sys.argv[2:] or ["default"])[0]
    rows = []
    for num_devices, num_pending in CASES:
        for slo_scale in SLO_SCALES:
            found = measure(policy, profile, num_devices, num_pending, slo_scale)
            rows.append({"gpus": num_devices, "pending": num_pending, "slo_scale": slo_scale, **found})
            sys.stdout.write(f"{rows[-1]}\n")
    sys.stdout.write(json.dumps({"policy": policy, "decision_ms": rows}) + "\n")


if __name__ == "__main__":
    main()
