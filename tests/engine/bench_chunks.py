"""What does a chunk cost, and what a change of degree?

The real engine: steps of one image in one chunk, then each a chunk of its own; on two devices also on both, in turns
on one and on both, and in turns on the one and the other. Rounds take turns, so that what drifts hits all alike.
Goal: a change of degree at every step costs 1 % more than the sum of its steps.

    PYTHONPATH=src:tests python tests/engine/bench_chunks.py --devices cuda:2 --model random:flux1-dev

A line each. The last line of stdout is JSON: seconds a step, medians over the rounds.
"""

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from parity.harness import Block, Engine, Work
from tetriserve.core.events import ChunkDone
from tetriserve.core.request import Request
from tetriserve.models.source import find_model
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR

ONE_CHUNK = "one chunk"
EACH = "a chunk a step"


def ways(num_devices: int) -> dict[str, tuple[tuple[Block, ...], bool]]:
    """The blocks that take turns, step after step, and whether every step is a chunk of its own."""
    found: dict[str, tuple[tuple[Block, ...], bool]] = {ONE_CHUNK: (((0,),), False), EACH: (((0,),), True)}
    if num_devices > 1:
        found |= {
            f"both devices, {ONE_CHUNK}": (((0, 1),), False),
            f"both devices, {EACH}": (((0, 1),), True),
            "one and both in turns": (((0,), (0, 1)), True),
            "one and the other in turns": (((0,), (1,)), True),
        }
    return found


def plan(engine: Engine, request: Request, first: int, num: int, blocks: Sequence[Block], *, each: bool) -> list[Work]:
    """Chunks of `num` steps from `first` on."""
    if not each:
        return [engine.denoise(request, blocks[0], first, num)]
    return [
        engine.denoise(request, block, step)
        for step, block in zip(range(first, first + num), itertools.cycle(blocks), strict=False)
    ]


def rounds(engine: Engine, args: argparse.Namespace) -> Iterator[dict[str, float]]:
    """Seconds a step, from the begin of the first chunk to the end of the last, by way."""
    modes = ways(engine.executor.num_devices)
    request, at = engine.request(args.size, steps=args.steps * (args.rounds + 1) * len(modes)), 0
    engine.run([engine.encode(request)])
    for _ in range(args.rounds + 1):
        taken: dict[str, float] = {}
        for name, (blocks, each) in modes.items():
            events = engine.run(plan(engine, request, at, args.steps, blocks, each=each))
            assert all(isinstance(event, ChunkDone) for event in events), events
            at += args.steps
            begin_s, end_s = min(event.started_s for event in events), max(event.finished_s for event in events)
            taken[name] = (end_s - begin_s) / args.steps
        yield taken


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(EMBEDDED_MODEL_DIR))
    parser.add_argument("--devices", default="cpu:2")
    parser.add_argument("--sizes", default="64x64,256x256", help="of images, one after another")
    parser.add_argument("--steps", type=int, default=28, help="of each round")
    parser.add_argument("--rounds", type=int, default=6)
    args = parser.parse_args()
    sizes: list[str] = args.sizes.split(",")
    engine, report = Engine(Path(find_model(args.model)), args.devices, sizes=sizes), {}
    with engine.executor:
        for args.size in sizes:
            _, *taken = rounds(engine, args)  # the first round makes everything ready
            report[args.size] = {name: statistics.median(one[name] for one in taken) for name in taken[0]}
            for name, median_s in report[args.size].items():
                spread = max(one[name] for one in taken) / min(one[name] for one in taken) - 1
                sys.stderr.write(f"{args.size}, {name}: {1e3 * median_s:.2f} ms a step, spread {spread:.1%}\n")
    sys.stdout.write(json.dumps({"step_s": report}) + "\n")


if __name__ == "__main__":
    main()
