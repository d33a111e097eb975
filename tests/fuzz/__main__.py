"""Fuzzes everything that parses for as long as it takes: `scripts/fuzz`.

Question: is there an input that is neither taken nor refused in words? For every target, cases that are nearly right
(hypothesis), then bytes that lead to new code (atheris, where it is installed); then calls of the described API
(schemathesis). Writes what it finds to out/fuzz; ends with 1 if there was anything, and with one line of JSON.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.findings import Findings
from fuzz.nearly import run_nearly_right
from fuzz.targets import TARGETS

OUT = Path("out/fuzz")
DRAWN_SHARE = 0.2
"""Of the cases, those that are nearly right; the others are guided by what code they reach."""
CALLS_SHARE = 1 / 2000
"""Calls of a route for each case: they are whole requests."""
GUIDED_LIMIT_S = 600


def main() -> int:
    """Run what is asked for and say what came of it."""
    args = _arguments()
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = [target for target in TARGETS if args.target in target.name]
    each = -(-args.cases // len(chosen))
    drawn = max(1, int(each * DRAWN_SHARE))
    has_atheris = importlib.util.find_spec("atheris") is not None
    if not has_atheris:
        print("atheris is not installed (no wheel for this Python?): all cases come from hypothesis", flush=True)
    started_s, findings, total = time.monotonic(), Findings(OUT), 0
    for target in chosen:
        with tempfile.TemporaryDirectory() as folder:
            count = run_nearly_right(target, drawn if has_atheris else each, args.seed, Path(folder), findings)
        guided = _guided(target.name, int((each - drawn) * target.share), args.seed) if has_atheris else 0
        total += count + guided
        print(f"{target.name}: {count:,} nearly right, {guided:,} guided, {findings.of(target.name)} found", flush=True)
    calls_failed = not args.target and _calls(max(12, int(args.cases * CALLS_SHARE)))
    summary = {"cases": total, "seed": args.seed, "seconds": round(time.monotonic() - started_s, 1)}
    num_found = sum(findings.of(target.name) for target in chosen)
    print(json.dumps(summary | {"findings": num_found, "calls_failed": calls_failed}))
    return 1 if num_found or calls_failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Feed everything that parses with bad inputs.")
    parser.add_argument("--cases", type=int, default=100_000, help="in all, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--target", default="", help="only targets with this in their name, and no calls")
    return parser.parse_args()


def _guided(name: str, cases: int, seed: int) -> int:
    """A process of its own: libFuzzer ends the one it runs in. How many cases it ran."""
    command = [sys.executable, "-m", "fuzz.guided", name, str(cases), str(seed), str(OUT)]
    try:
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [*command, empty], capture_output=True, text=True, timeout=GUIDED_LIMIT_S, check=False
            )
    except subprocess.TimeoutExpired as error:
        Findings(OUT).add(name, b"", f"hangs: {str(error.stderr)[-300:]}")
        return 0
    if done.returncode:
        Findings(OUT).add(name, b"", f"ended with {done.returncode}: {done.stderr[-1000:]}")
        return 0
    return cases


def _calls(per_route: int) -> bool:
    """Whether schemathesis finds fault with the server."""
    command = [sys.executable, "-m", "pytest", "tests/server/test_schema.py", "--timeout", "3600"]
    print(f"{per_route} calls of every route", flush=True)
    return subprocess.run(command, env=os.environ | {"SCHEMA_EXAMPLES": str(per_route)}, check=False).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
