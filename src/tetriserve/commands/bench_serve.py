"""`tetriserve bench serve`."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tetriserve.bench.client import send_all, warm_up
from tetriserve.bench.compare import lines, pairs
from tetriserve.bench.reply import UNFINISHED, Reply
from tetriserve.bench.result import request_rows, run_row
from tetriserve.bench.target import ServerInfo, Target, meet
from tetriserve.commands.bench_options import make_entries, make_target
from tetriserve.commands.bench_table import comparison_table, run_table
from tetriserve.commands.plot import check_drawing, draw, read_results
from tetriserve.commands.progress import progress_bar
from tetriserve.commands.simulate import write_json
from tetriserve.core.errors import ConfigurationError
from tetriserve.workload.trace import TraceEntry

INTERRUPTED = 130


def run(args: argparse.Namespace) -> None:
    """Measure, or compare what was measured."""
    if args.plots is not None:
        check_drawing()
    if args.compare is not None:
        _compare(args)
    else:
        _measure(args)


def _measure(args: argparse.Namespace) -> None:
    console = Console()
    target, entries = make_target(args), make_entries(args)
    if args.json is not None and not args.json.parent.is_dir():
        raise ConfigurationError(f"--json {args.json}: not a file in an existing directory")
    replies: list[Reply] = []
    info = asyncio.run(_load(console, args, target, entries, replies))
    complete = len(replies) == len(entries) and all(reply.code != UNFINISHED for reply in replies)
    if not replies:
        console.print("Stopped before any request was answered.")
        sys.exit(INTERRUPTED)
    name = args.name or info.policy or info.model or args.url
    row = run_row(name, replies, info.num_devices)
    document = {
        "runs": [row],
        "schedules": [request_rows(name, replies)],
        "bound_sar": None,
        "config": _resolved(args, target, info, entries, complete),
    }
    console.print(run_table(row))
    if args.json is not None:
        write_json(args.json, document)
    if args.plots is not None:
        draw(console, args.json or args.plots / "bench.json", document, args.plots)
    if not complete:
        console.print(f"Stopped: {len(entries) - len(replies)} of {len(entries)} requests are not counted.")
        sys.exit(INTERRUPTED)


async def _load(
    console: Console, args: argparse.Namespace, target: Target, entries: Sequence[TraceEntry], replies: list[Reply]
) -> ServerInfo:
    """Fills `replies`. Ctrl-C, which cancels this, ends the load; what there is by then stays."""
    info = ServerInfo()
    with progress_bar(console, "Waiting for the server") as progress:
        try:
            target, info = await meet(target, args.wait_s)
            await warm_up(target, entries, args.warm_up, lambda reply: progress(0, len(entries), "warming up"))
            await send_all(target, entries, _counting(replies, len(entries), progress))
        except asyncio.CancelledError:
            pass
    return info


def _counting(replies: list[Reply], total: int, progress: Callable[[int, int, str], None]) -> Callable[[Reply], None]:
    met = 0

    def on_reply(reply: Reply) -> None:
        nonlocal met
        replies.append(reply)
        met += reply.met_deadline
        progress(len(replies), total, f"{met} on time, {len(replies) - met} not")

    return on_reply


def _resolved(
    args: argparse.Namespace, target: Target, info: ServerInfo, entries: Sequence[TraceEntry], complete: bool
) -> dict[str, Any]:
    """Everything the results depend on."""
    made = ("mix", "rate", "arrivals", "steps", "slo_scale", "seed")
    is_made = args.trace is None and args.csv is None
    return {
        "url": target.base_url,
        "model": target.model or info.model,
        "policy": info.policy,
        "gpus": info.num_devices,
        "trace": next((str(path) for path in (args.trace, args.csv) if path is not None), None),
        "workload": {name: getattr(args, name) for name in made} if is_made else None,
        "num_requests": len(entries),
        "complete": complete,
        "slo": args.slo,
        "slo_sent": target.send_slo,
        "extra_body": dict(target.extra),
        "warm_up": args.warm_up,
        "max_connections": target.max_connections,
        "timeout_s": target.timeout_s,
    }


def _compare(args: argparse.Namespace) -> None:
    console = Console()
    names, documents = compare(console, args.compare)
    if args.plots is not None:
        parts = ("runs", "schedules")
        both = {
            part: [
                {**document[part][0], "policy": name}
                for document, name in zip(documents, names, strict=True)
                if document.get(part)
            ]
            for part in parts
        }
        draw(console, args.plots / f"{'-'.join(names)}.json", both | {"config": documents[0]["config"]}, args.plots)


def compare(console: Console, paths: Sequence[Path]) -> tuple[list[str], list[dict[str, Any]]]:
    """Show two files of results beside each other; their names, and what they hold. Raises ConfigurationError."""
    documents = [read_results(path) for path in paths]
    try:
        names = [document["runs"][0]["policy"] for document in documents]
        names = names if names[0] != names[1] else [path.stem for path in paths]
        console.print(comparison_table(names, lines(*documents), pairs(*documents)))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigurationError(f"--compare: not two results of bench or simulate: {error!r}") from error
    return names, documents
