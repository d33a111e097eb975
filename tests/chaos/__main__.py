"""Does anything that was accepted get lost when everything goes wrong at once?

The real server with the embedded model in 32 bits, under load by clients that wait, read streams and own jobs.
Faults come about one a second, as a plan says that is drawn from the seed. Every image is compared with the one that
the same request gave before. Exit status 1 if an invariant is broken; the last line of stdout is JSON.
"""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from chaos.checks import Final, Resources, checks_of
from chaos.clients import NUM_CLIENTS, Client
from chaos.ending import finish, watch
from chaos.history import History
from chaos.images import undisturbed
from chaos.injectors import Injector
from chaos.plan import POLICIES, WEIGHTS, Fault, draw_plan, write_plan
from chaos.report import as_line, report_of, show
from chaos.server import ChaosServer

DISK_MB = 64
LINE_EVERY = 50
"""Faults between two lines, where there is no terminal for a bar."""


async def run(plan: Sequence[Fault], args: argparse.Namespace, work_dir: Path, console: Console) -> dict[str, object]:
    """All of it; the report."""
    started_s, history = time.monotonic(), History()
    with small_disk(work_dir / "state") as has_small_disk:
        server = ChaosServer(work_dir, work_dir / "state", history, args.devices)
        try:
            resources = await _run(plan, args, server, has_small_disk, console)
            checks = checks_of(history, resources)
        finally:
            server.end()
    about = {"seed": args.seed, "seconds": round(time.monotonic() - started_s), "lives": server.num_lives}
    return report_of(history, checks, about)


async def _run(
    plan: Sequence[Fault], args: argparse.Namespace, server: ChaosServer, has_small_disk: bool, console: Console
) -> Final:
    history, resources = server.history, Resources()
    console.print("Starting a server, and making the images that there should be ...")
    await server.start(args.policy)
    client = Client(server, history, await undisturbed(server.url))
    watching = asyncio.create_task(watch(server, resources))
    clients = [
        asyncio.create_task(client.run(kind, random.Random(f"{args.seed} {kind} {number}")))
        for kind, count in NUM_CLIENTS.items()
        for number in range(count)
    ]
    try:
        await _inject(plan, args.minutes, Injector(server, client, has_small_disk), history, console)
        return await finish(server, client, clients, resources)
    finally:
        for task in (watching, *clients):
            task.cancel()
        await asyncio.gather(watching, *clients, return_exceptions=True)
        await client.http.aclose()


async def _inject(
    plan: Sequence[Fault], minutes: float | None, injector: Injector, history: History, console: Console
) -> None:
    end_s = None if minutes is None else time.monotonic() + 60 * minutes
    columns = [*Progress.get_default_columns()[:2], TimeElapsedColumn(), TextColumn("{task.fields[said]}")]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("faults", total=len(plan), said="")
        for fault in plan:
            if end_s is not None and time.monotonic() > end_s:
                break
            await injector.inject(fault)
            ended = sum(one.ending is not None for one in history.attempts)
            said = f"{fault.number + 1} of {len(plan)}: {fault.kind}; {ended} of {len(history.attempts)} requests over"
            progress.update(bar, advance=1, said=said)
            if not console.is_terminal and (fault.number + 1) % LINE_EVERY == 0:
                console.print(said, highlight=False)
    await injector.settle()


@contextmanager
def small_disk(path: Path) -> Iterator[bool]:
    """A file system for the state that can be filled; only root can have one, others get a directory."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(path)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        "scripts/chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="of the plan and the load (default: 1)")
    parser.add_argument("--faults", type=int, default=100, metavar="N", help="how many (default: 100)")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no fault after so many minutes")
    parser.add_argument("--devices", default="cpu:2", help="as in `tetriserve serve` (default: cpu:2)")
    parser.add_argument("--policy", choices=POLICIES, default="default", help="of the first server (default: default)")
    parser.add_argument("--only", default=",".join(WEIGHTS), metavar="KIND,...", help="faults of these kinds alone")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where plan, report and the server's log go")
    args = parser.parse_args()
    console = Console(stderr=True)
    out = args.out or Path(tempfile.mkdtemp(prefix="chaos-"))
    out.mkdir(parents=True, exist_ok=True)
    kinds = args.only.split(",")
    if unknown := set(kinds) - set(WEIGHTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}; there are {', '.join(WEIGHTS)}")
    plan = draw_plan(args.seed, args.faults, kinds)
    write_plan(out / "plan.json", args.seed, plan)
    console.print(f"Seed {args.seed}, {args.faults} faults; plan, report and log in {out}", highlight=False)
    with tempfile.TemporaryDirectory(dir=out, prefix="work-", ignore_cleanup_errors=True) as name:
        found = asyncio.run(run(plan, args, Path(name), console))
        (out / "server.log").write_bytes((Path(name) / "server.log").read_bytes())
    (out / "report.json").write_text(as_line(found))
    show(console, found)
    sys.stdout.write(as_line(found))
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
