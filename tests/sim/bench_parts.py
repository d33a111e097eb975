"""What does it bring that a long step can be interrupted?

On two GPUs a step of 2048x2048 takes longer than a small image may wait. Simulated: the load of the study two-gpus
under `default`, with long steps whole and cut into parts between which others may go first.

    PYTHONPATH=src:tests python tests/sim/bench_parts.py

The last line of stdout is JSON: by mix, load and scale of deadlines, the share on time and the mean latency in seconds
for each longest part; means of the seeds.
"""

import argparse
import json
import sys
from dataclasses import replace
from itertools import product
from statistics import mean

from tetriserve.cost.model import CostModel
from tetriserve.cost.packaged import load_profile
from tetriserve.evaluation.simulated import as_served
from tetriserve.evaluation.study import Cell, study_named
from tetriserve.evaluation.workload import make_trace
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.sim.simulate import simulate


def main() -> None:
    """Print a line for each load as it is simulated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part-s", type=float, nargs="+", default=[0.0, 0.12])
    parser.add_argument("--mixes", nargs="+", default=["uniform", "skewed"])
    parser.add_argument("--loads", nargs="+", default=["90%", "60%"])
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--gpus", type=int, default=2)
    args = parser.parse_args()
    study = replace(study_named("two-gpus"), num_requests=args.requests)
    cost, found = CostModel(load_profile("flux1-dev.h100"), args.gpus), {}
    for mix, load, scale in product(args.mixes, args.loads, args.scales):
        cell, row = Cell("random:flux1-dev", "default", mix, load, scale), {}
        for part_s in args.part_s:
            _, served = as_served("default", study.sizes)
            default = replace(served.scheduler.default, part_s=part_s)
            config = replace(served, scheduler=replace(served.scheduler, default=default))
            shares, latencies_s = [], []
            for seed in args.seeds:
                trace = make_trace(replace(study, seed=seed), cell, cost, args.gpus)
                requests = [entry.to_request(index) for index, entry in enumerate(trace)]
                outcomes = simulate(cost, requests, "default", args.gpus, config=config).outcomes
                shares.append(slo_attainment(outcomes))
                latencies_s.append(mean(outcome.latency_s for outcome in outcomes))
            row[f"{part_s:g}"] = {"sar": round(mean(shares), 3), "latency_s": round(mean(latencies_s), 2)}
        found[f"{mix} {load} x{scale:g}"] = row
        sys.stderr.write(f"{mix} {load} x{scale:g}: {row}\n")
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
