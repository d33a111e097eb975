"""What does ten times the load do to a server that refuses what it can't promise?

The real server with the embedded model, or with `--sleeping` over an engine that takes its time and no CPU. First what
it can carry: `--clients` that always wait for their image, and how long an image takes alone. Then open-loop Poisson
loads with deadlines of `--slo` times that: half of what it can carry ("half"), ten times that for `--seconds`, half
again. Attainment is the share on time, by the server's clock, of those that were let in. Recovery: from the last
arrival of the flood to the arrival after which none is late or refused. Who has no answer `--wait` seconds after the
last deadline counts as let in and late, and the run ends.

    PYTHONPATH=src:tests python tests/server/bench_overload.py --seconds 300

A line every few seconds says how far it is. The last line of stdout is JSON.
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from chaos.processes import memory_mb
from server.conftest import run_server
from server.program import program
from tetriserve.bench.client import send_all
from tetriserve.bench.reply import Reply
from tetriserve.bench.target import Target
from tetriserve.metrics.attainment import quantile
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR
from tetriserve.workload.trace import TraceEntry

PATIENT_S = 3000.0
TELL_S = 5.0
CALM, FLOOD = 1, 2
"""Seeds of the loads."""

console = Console(stderr=True)


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


@dataclass
class Watch:
    """What has come of a load so far, and the most memory that the server had meanwhile."""

    name: str
    pid: int
    load: Sequence[TraceEntry]
    begin_s: float = field(default_factory=time.monotonic)
    replies: dict[str, Reply] = field(default_factory=dict)
    most_mb: float = 0.0

    def take(self, reply: Reply) -> None:
        """A reply has come."""
        self.replies[reply.entry.request_id] = reply

    def look(self) -> str:
        """How far it is, in a line."""
        now_s = time.monotonic() - self.begin_s
        sent = sum(entry.arrival_s <= now_s for entry in self.load)
        refused = sum(is_refused(reply) for reply in self.replies.values())
        made = [reply for reply in self.replies.values() if reply.ok]
        on_time = sum(is_on_time(reply) for reply in made)
        counts = f"sent {sent}/{len(self.load)}, let in {sent - refused} (made {len(made)}, on time {on_time})"
        return f"{self.name} {now_s:5.0f} s: {counts}, refused {refused}; {memory_mb(self.pid):.1f} MB"

    async def run(self, target: Target, wait_s: float) -> None:
        """Send everything, and wait so long after the last deadline."""
        sending = asyncio.ensure_future(send_all(target, self.load, self.take))
        end_s = self.begin_s + max(entry.arrival_s + entry.slo_s for entry in self.load) + wait_s
        told_s = self.begin_s
        while not sending.done() and time.monotonic() < end_s:
            self.most_mb = max(self.most_mb, memory_mb(self.pid))
            await asyncio.wait((sending,), timeout=0.5)
            if time.monotonic() - told_s >= TELL_S:
                told_s = time.monotonic()
                console.print(self.look(), highlight=False)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        console.print(self.look(), highlight=False)

    def row(self, seed: int) -> dict[str, Any]:
        """The result of the arrivals of one seed."""
        replies = [reply for id_, reply in self.replies.items() if id_.startswith(f"{seed}-")]
        let_in = [reply for reply in replies if not is_refused(reply)]
        late_s = sorted(reply.latency_s - reply.entry.slo_s for reply in let_in if not is_on_time(reply))
        refusals_ms = sorted(reply.latency_s * 1e3 for reply in replies if is_refused(reply))
        return {
            "offered": len(replies),
            "let_in": len(let_in),
            "attainment": sum(map(is_on_time, let_in)) / len(let_in) if let_in else None,
            "late_by_p50_s": quantile(late_s, 0.5) if late_s else None,
            "late_by_max_s": max(late_s, default=None),
            "codes": Counter(reply.code for reply in replies if reply.code),
            "refusal_p50_ms": quantile(refusals_ms, 0.5) if refusals_ms else None,
            "refusal_p99_ms": quantile(refusals_ms, 0.99) if refusals_ms else None,
        }


def is_refused(reply: Reply) -> bool:
    """Whether it was not let in."""
    return reply.code == "429"


def is_on_time(reply: Reply) -> bool:
    """Whether there is an image and it was ready by its deadline, by the server's clock."""
    return reply.ok and bool(reply.report["met_deadline"])


async def measure(url: str, pid: int, args: argparse.Namespace) -> dict[str, Any]:
    """All loads, one after another."""
    target = Target(url, timeout_s=PATIENT_S)
    one = TraceEntry("one", 0.0, args.size, args.size, args.steps, PATIENT_S, "a red apple")
    alone_s, per_s = await capacity(target, one, args.clients, args.calm)
    console.print(f"alone {alone_s:.3f} s, carries {per_s:.2f} images a second", highlight=False)
    one = replace(one, slo_s=args.slo * alone_s)
    calm, flood = arrivals(per_s / 2, args.calm, one, CALM), arrivals(10 * per_s, args.seconds, one, FLOOD)
    before = Watch("half", pid, calm)
    await before.run(target, args.wait)
    after = [replace(entry, arrival_s=entry.arrival_s + args.seconds) for entry in calm]
    during = Watch("ten times, then half", pid, [*flood, *after])
    await during.run(target, args.wait)
    bad_s = [
        entry.arrival_s
        for entry in after
        if not (entry.request_id in during.replies and is_on_time(during.replies[entry.request_id]))
    ]
    return {
        "alone_s": alone_s,
        "carries_per_s": per_s,
        "slo_s": one.slo_s,
        "half": before.row(CALM) | {"memory_mb": before.most_mb},
        "ten_times": during.row(FLOOD) | {"memory_mb": during.most_mb},
        "half_again": during.row(CALM),
        "recovery_s": max(bad_s, default=args.seconds) - flood[-1].arrival_s,
    }


def main() -> None:
    """Measure, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of the flood")
    parser.add_argument("--calm", type=float, default=30.0, help="seconds of every other load")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds after the last deadline")
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
