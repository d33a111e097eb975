"""What would it bring if a long step could be interrupted?

On two GPUs a step of 2048x2048 takes longer than a small image may wait. Simulated: the load of the study two-gpus, its
largest size with steps of which each is so many equal parts, after any of which somebody else may go first. What
engines would have to pay for that, and that a step must end on the block on which it began, is left out: the figures
are an upper bound.

    PYTHONPATH=src:tests python tests/sim/bench_parts.py

The last line of stdout is JSON: share on time by mix, load, scale of deadlines, and parts; means of the seeds.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from statistics import mean

from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.evaluation.simulated import as_served
from tetriserve.evaluation.study import Cell, study_named
from tetriserve.evaluation.workload import make_trace
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.sim.simulate import simulate

STUDY = replace(study_named("two-gpus"), num_requests=300)
LARGEST = max(STUDY.sizes, key=lambda size: size.num_tokens)
NUM_DEVICES = 2
SEEDS, PARTS = (1, 2, 3), (1, 2, 4)


def in_parts(cost: CostModel, requests: Sequence[Request], parts: int) -> tuple[CostModel, list[Request]]:
    """The same work with so many times more steps of the largest size, each so much shorter."""
    entries = tuple(
        replace(one, step_s=one.step_s / parts) if one.size == LARGEST else one for one in cost.profile.entries
    )
    cut = [
        replace(one, num_inference_steps=one.num_inference_steps * parts) if one.size == LARGEST else one
        for one in requests
    ]
    return CostModel(replace(cost.profile, entries=entries), NUM_DEVICES), cut


def main() -> None:
    """Print a line for each load as it is simulated."""
    cost, found = CostModel(load_profile("flux1-dev.h100"), NUM_DEVICES), {}
    for mix, load, scale in product(("uniform", "skewed"), ("90%", "60%"), (1.0, 1.5)):
        cell, shares = Cell("random:flux1-dev", "default", mix, load, scale), {}
        for parts in PARTS:
            sars = []
            for seed in SEEDS:
                trace = make_trace(replace(STUDY, seed=seed), cell, cost, NUM_DEVICES)
                requests = [entry.to_request(index) for index, entry in enumerate(trace)]
                finer, cut = in_parts(cost, requests, parts)
                outcomes = simulate(finer, cut, "default", NUM_DEVICES, config=as_served(STUDY.sizes)).outcomes
                sars.append(slo_attainment(outcomes))
            shares[parts] = round(mean(sars), 3)
        found[f"{mix} {load} x{scale:g}"] = shares
        sys.stderr.write(f"{mix} {load} x{scale:g}: {shares}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
