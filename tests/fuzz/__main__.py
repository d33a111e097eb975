"""Fuzzes everything that parses for as long as it takes: `scripts/fuzz`.

Question: is there an input that is neither taken nor refused in words? For every target documents that are nearly right
(hypothesis), then those, and bytes, that lead to new code (atheris, where it is installed); and calls of every route of
the described API (schemathesis). Writes what it finds to out/fuzz; ends with 1 if there was anything, and with one line
of JSON.
"""

import argparse
import datetime
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.console import Console

from fuzz.warm import HAS_ATHERIS, import_targets

TARGETS = import_targets()  # before anything else of the product is imported

from fuzz.calls import feed_calls, routes  # noqa: E402
from fuzz.findings import Findings  # noqa: E402
from fuzz.guided import feed_bytes, feed_drawn  # noqa: E402
from fuzz.jobs import Job, run_side_by_side  # noqa: E402
from fuzz.nearly import feed_nearly_right  # noqa: E402
from fuzz.show import progress, table  # noqa: E402

OUT = Path("out/fuzz")
CALLS_SHARE = 0.06
"""Of all cases: a call takes several times as long as another case."""
PARTS = (("nearly right", 0.4, feed_nearly_right), ("guided", 0.4, feed_drawn), ("guided bytes", 0.2, feed_bytes))
"""What a target gets, its share, and where it comes from. Without atheris it is all the first."""


def main() -> int:
    """Run what is asked for and say what came of it."""
    args = _arguments()
    console, findings = Console(stderr=True), Findings(OUT)
    jobs = _jobs(args.cases, args.seed, args.target)
    if not jobs:
        console.print(f"no target has {args.target!r} in its name")
        return 2
    if not HAS_ATHERIS:
        console.print("atheris is not installed (no wheel for this Python?): no case is guided by what code it reaches")
    findings.clear({job.name for job in jobs})
    started_s, begun, complete = time.monotonic(), [], False
    with progress(console, sum(job.cases for job in jobs)) as show, suppress(KeyboardInterrupt):
        for begun in run_side_by_side(jobs, args.jobs, findings):
            show(begun)
        complete = True
    if not begun:
        return 130
    console.print(table(begun, findings))
    summary = {
        "cases": sum(one.count for one in begun),
        "guided": sum(one.count for one in begun if one.job.part.startswith("guided")),
        "targets": len({job.name for job in jobs}),
        "seed": args.seed,
        "seconds": round(time.monotonic() - started_s),
        "findings": sum(map(findings.of, {job.name for job in jobs})),
        "complete": complete,
    }
    print(json.dumps(summary))
    return 1 if summary["findings"] else 0 if complete else 130


def _arguments() -> argparse.Namespace:
    today = int(datetime.date.today().strftime("%Y%m%d"))
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Feed everything that parses with bad inputs.")
    parser.add_argument("--cases", type=int, default=120_000, help="in all, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=today, help="of all that is drawn (default: the day, %(default)s)")
    parser.add_argument("--target", default="", help="only targets and routes with this in their name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (default: %(default)s)")
    return parser.parse_args()


def _jobs(cases: int, seed: int, wanted: str) -> Sequence[Job]:
    """`cases` in all, or a few more, over all targets and routes that are wanted."""
    targets = [target for target in TARGETS if wanted in target.name]
    calls = [(label, share) for label, share in routes() if wanted in label]
    each_call = cases * (CALLS_SHARE if targets else 1) / (sum(share for _, share in calls) or 1)
    each = (cases - each_call * sum(share for _, share in calls)) / (sum(target.share for target in targets) or 1)
    jobs = [
        Job(label, "calls", max(1, math.ceil(each_call * share)), seed, partial(feed_calls, label))
        for label, share in calls
    ]
    for target in targets:
        for part, share, feed in PARTS if HAS_ATHERIS else ((PARTS[0][0], 1.0, PARTS[0][2]),):
            jobs.append(Job(target.name, part, math.ceil(each * target.share * share), seed, partial(feed, target)))
    return jobs


if __name__ == "__main__":
    sys.exit(main())
