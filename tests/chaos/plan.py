"""What goes wrong, and when: drawn in advance from a seed, so that a run can be repeated and read."""

import json
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal[
    "kill_worker",
    "kill_workers",
    "hang",
    "memory",
    "disconnect",
    "delete_job",
    "clock_jump",
    "full_disk",
    "kill_server",
]
WEIGHTS: Mapping[Kind, float] = {
    "kill_worker": 30,
    "kill_workers": 8,
    "hang": 6,
    "memory": 14,
    "disconnect": 16,
    "delete_job": 10,
    "clock_jump": 8,
    "full_disk": 5,
    "kill_server": 3,
}
AMOUNTS: Mapping[Kind, tuple[float, float]] = {
    "memory": (0.2, 0.8),
    "clock_jump": (-86400.0, 86400.0),
    "full_disk": (0.3, 2.0),
}
"""Seconds that it lasts, or by which the clock is wrong from then on."""
POLICIES = ("default", "fixed-sp2", "tetriserve", "edf")
"""`fixed-sp2` takes every step on both workers: whoever is killed then is killed inside an exchange."""
MEAN_GAP_S = 0.6
WAITING = 0.7
"""The share of faults that let the server recover first, however slow the machine is; others hit it while it does."""
LEAST_GAP_S = 0.05


@dataclass(frozen=True, slots=True)
class Fault:
    """`gap_s` after the one before, or, if it `waits`, when something got done since then.

    `pick`, in [0, 1), says who it hits; the next server has `policy`.
    """

    number: int
    gap_s: float
    kind: Kind
    pick: float
    amount: float = 0.0
    policy: str = ""
    waits: bool = False


def draw_plan(seed: int, num_faults: int, kinds: Collection[str] = tuple(WEIGHTS)) -> tuple[Fault, ...]:
    """Faults of these kinds. The first of a seed are the same, however many are drawn."""
    draw = random.Random(seed)
    weights = {kind: weight for kind, weight in WEIGHTS.items() if kind in kinds}
    return tuple(_draw(number, draw, weights) for number in range(num_faults))


def write_plan(path: Path, seed: int, plan: Sequence[Fault]) -> None:
    """As JSON."""
    path.write_text(json.dumps({"seed": seed, "faults": [asdict(fault) for fault in plan]}, indent=1) + "\n")


def _draw(number: int, draw: random.Random, weights: Mapping[Kind, float]) -> Fault:
    gap_s = LEAST_GAP_S + draw.expovariate(1 / (MEAN_GAP_S - LEAST_GAP_S))
    (kind,) = draw.choices(list(weights), list(weights.values()))
    pick, amount = draw.random(), draw.uniform(*AMOUNTS.get(kind, (0.0, 0.0)))
    policy, waits = draw.choice(POLICIES), draw.random() < WAITING
    policy = policy if kind == "kill_server" else ""
    return Fault(number, round(gap_s, 3), kind, round(pick, 4), round(amount, 3), policy, waits)
