"""What does ten times the load do to a server that refuses what it can't promise?

The real server with the embedded model, or with `--sleeping` over an engine that takes its time and no CPU. First what
it can carry: `--clients` that always wait for their image, and how long an image takes alone. Then open-loop Poisson
loads with deadlines of `--slo` times that: half of what it can carry ("half"), ten times that for `--seconds`, half
again. Attainment is the share on time, by the server's clock, of those that were let in. Recovery: from the last
arrival of the flood to the arrival after which none is late or refused.

    PYTHONPATH=src:tests python tests/server/bench_overload.py --seconds 300

The last line of stdout is JSON.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from server.conftest import run_server
from server.program import program
from tetriserve.bench.client import send_all
from tetriserve.bench.reply import Reply
from tetriserve.bench.target import Target
from tetriserve.metrics.attainment import quantile
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR
from tetriserve.workload.trace import TraceEntry

PATIENT_S = 3000.0


def arrivals(rate_per_s: float, seconds: float, like: TraceEntry, seed: int) -> list[TraceEntry]:
    """A Poisson load of requests like one."""
    draw, at_s, found = random.Random(seed), 0.0, []
    while (at_s := at_s + draw.expovariate(rate_per_s)) < seconds:
        found.append(replace(like, request_id=f"{seed}-{len(found)}", arrival_s=at_s))
    return found


async def capacity(target: Target, one: TraceEntry, clients: int, seconds: float) -> tuple[float, float]:
    """Seconds of an image alone, and images a second of clients that wait for theirs."""
    alone_s = statistics.median([(await send_all(target, [one]))[0].latency_s for _ in range(5)])
    end_s = time.monotonic() + seconds

    async def client() -> int:
        count = 0
        while time.monotonic() < end_s:
            count += (await send_all(target, [one]))[0].ok
        return count

    return alone_s, sum(await asyncio.gather(*(client() for _ in range(clients)))) / seconds


def memory_mb(pid: int) -> float:
    """Resident memory of the process that serves HTTP."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


async def with_memory(pid: int, target: Target, load: Sequence[TraceEntry]) -> tuple[list[Reply], float]:
    """The replies, and the most memory while they came."""
    sending, most_mb = asyncio.ensure_future(send_all(target, load)), 0.0
    while not sending.done():
        most_mb = max(most_mb, memory_mb(pid))
        await asyncio.wait((sending,), timeout=0.5)
    return sending.result(), most_mb


def told(name: str, replies: Sequence[Reply], memory: float) -> dict[str, Any]:
    """A row of the result."""
    made = [reply for reply in replies if reply.ok]
    on_time = sum(bool(reply.report["met_deadline"]) for reply in made)
    refusals = sorted(reply.latency_s for reply in replies if reply.code == "429")
    return {
        "load": name,
        "offered": len(replies),
        "let_in": len(made),
        "attainment": on_time / len(made) if made else None,
        "codes": Counter(reply.code for reply in replies if reply.code),
        "refusal_p50_ms": quantile(refusals, 0.5) * 1e3 if refusals else None,
        "refusal_p99_ms": quantile(refusals, 0.99) * 1e3 if refusals else None,
        "memory_mb": round(memory, 1),
    }


def recovery_s(replies: Sequence[Reply], gap_s: float) -> float:
    """`gap_s` lies between the last arrival of the flood and the start of these."""
    bad = [reply.entry.arrival_s for reply in replies if not (reply.ok and reply.report["met_deadline"])]
    return gap_s + max(bad, default=0.0)


async def measure(url: str, pid: int, args: argparse.Namespace) -> dict[str, Any]:
    """All loads, one after another."""
    target = Target(url, timeout_s=600.0)
    one = TraceEntry("one", 0.0, args.size, args.size, args.steps, PATIENT_S, "a red apple")
    alone_s, per_s = await capacity(target, one, args.clients, args.calm)
    one = replace(one, slo_s=args.slo * alone_s)
    calm, flood = arrivals(per_s / 2, args.calm, one, 1), arrivals(10 * per_s, args.seconds, one, 2)
    rows = [told("half", *await with_memory(pid, target, calm))]
    started_s = time.monotonic()
    after = [replace(entry, arrival_s=entry.arrival_s + args.seconds) for entry in calm]
    replies, most_mb = await with_memory(pid, target, [*flood, *after])
    elapsed_s = time.monotonic() - started_s
    during, afterwards = replies[: len(flood)], replies[len(flood) :]
    rows += [told("ten times", during, most_mb), told("half again", afterwards, memory_mb(pid))]
    recovered = [
        replace(one, entry=replace(one.entry, arrival_s=one.entry.arrival_s - args.seconds)) for one in afterwards
    ]
    return {
        "alone_s": alone_s,
        "carries_per_s": per_s,
        "slo_s": one.slo_s,
        "elapsed_s": elapsed_s,
        "rows": rows,
        "recovery_s": recovery_s(recovered, args.seconds - flood[-1].arrival_s),
    }


def main() -> None:
    """Print the loads as they come out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of the flood")
    parser.add_argument("--calm", type=float, default=30.0, help="seconds of every other load")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="pixels a side; 256 for the sleeping engine")
    parser.add_argument("--sleeping", action="store_true")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--slo", type=float, default=5.0, help="deadline over the time of an image alone")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.sleeping:
            with program(Path(name), admission="reject") as sleeping:
                measured = asyncio.run(measure(str(sleeping.client.base_url), sleeping.process.pid, args))
        else:
            options = ("--sizes", f"{args.size}x{args.size}", "--admission", "reject", "--devices", "cpu:2")
            with run_server(EMBEDDED_MODEL_DIR, Path(name), *options) as server:
                measured = asyncio.run(measure(server.url, server.process.pid, args))
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
