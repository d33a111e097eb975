"""What does it cost to interrupt steps?

The real engine on one block: steps of one image in one chunk (a CUDA graph each, on GPUs), then the same in chunks of
a half, a quarter, an eighth of a step, and these again with a step of a small image between any two of them. Rounds
take turns, so that what drifts hits all alike.

    PYTHONPATH=src:tests python tests/engine/bench_interruption.py --devices cuda:1 --model random:flux1-dev

A line each. The last line of stdout is JSON: seconds a step by the number of parts, medians over the rounds; what
the small image's steps take alone is subtracted from those with it.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from parity.harness import Engine, Work
from tetriserve.core.events import ChunkDone
from tetriserve.models.source import find_model
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR

PARTS = (1, 2, 4, 8)


def seconds(engine: Engine, works: list[Work]) -> float:
    """From the begin of the first chunk to the end of the last."""
    events = engine.run(works)
    assert all(isinstance(event, ChunkDone) for event in events), events
    return max(event.finished_s for event in events) - min(event.started_s for event in events)


def measure(engine: Engine, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds a step of every round, by what was done."""
    block, total = engine.executor.num_devices, args.steps * (args.rounds + 1) * 2 * len(PARTS)
    devices = tuple(range(block))
    large = engine.request(args.size, steps=total)
    small = engine.request(args.small, steps=total * max(PARTS))
    engine.run([engine.encode(large), engine.encode(small)])
    found: dict[str, list[float]] = {}
    at, at_small = 0.0, 0
    for index in range(args.rounds + 1):
        num_small = args.steps
        alone_s = seconds(engine, [engine.denoise(small, devices, at_small, num_small)]) / num_small
        at_small += num_small
        for parts in PARTS:
            for mixed in (False, True) if parts > 1 else (False,):
                works = []
                count = 1 if parts == 1 else args.steps * parts
                each = args.steps / count
                for _ in range(count):
                    works.append(engine.denoise(large, devices, at, each))
                    at += each
                    if mixed:
                        works.append(engine.denoise(small, devices, at_small))
                        at_small += 1
                taken_s = seconds(engine, works) - mixed * count * alone_s
                if index:  # the first round makes everything ready
                    found.setdefault(f"{parts}{' mixed' if mixed else ''}", []).append(taken_s / args.steps)
    return found


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(EMBEDDED_MODEL_DIR))
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--small", default="64x64")
    parser.add_argument("--steps", type=int, default=4, help="of each round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    engine = Engine(Path(find_model(args.model)), args.devices, sizes=[args.small, args.size])
    with engine.executor:
        found = measure(engine, args)
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        ratio, spread = medians[name] / medians["1"], (max(values) - min(values)) / medians[name]
        sys.stderr.write(f"{name:>8} parts: {1e3 * medians[name]:.2f} ms a step, x {ratio:.4f}, spread {spread:.1%}\n")
    sys.stdout.write(json.dumps({"size": args.size, "small": args.small, "step_s": medians}) + "\n")


if __name__ == "__main__":
    main()
