"""`tetriserve demo`: a server under a mixed load of twelve requests, and how it went."""

import argparse
import asyncio
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tetriserve.bench.client import send_all
from tetriserve.bench.contact_sheet import Exhibit, write_contact_sheet
from tetriserve.bench.reply import Reply
from tetriserve.bench.target import Target
from tetriserve.commands.options import serving_config
from tetriserve.commands.progress import progress_bar
from tetriserve.core.errors import ConfigurationError, EngineError
from tetriserve.cost.deadline import published_slo_s
from tetriserve.cost.model import CostModel
from tetriserve.engine.devices import resolve_devices
from tetriserve.metrics.attainment import slo_attainment
from tetriserve.runtime.checks import check_settings
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.launch import LoadedModel, loaded_model
from tetriserve.server.app import create_app
from tetriserve.server.listen import base_url, bind, serving_in_background
from tetriserve.sim.simulate import simulate
from tetriserve.workload.generate import WorkloadConfig, generate
from tetriserve.workload.mixes import uniform
from tetriserve.workload.trace import TraceEntry

NUM_REQUESTS = 12
SLO_FACTOR = 2.0
"""Deadlines are this multiple of the fastest possible time of the size here, or the paper's where that is longer."""
BASELINES = {"tetriserve": 1, "fixed-sp1": 1, "fixed-sp2": 2}
"""Policies to compare with, and the degree they need."""
SHEET_FILE = "contact-sheet.png"


def run(args: argparse.Namespace) -> None:
    """Serve, show, save."""
    if not 0 < args.load <= 100:
        raise ConfigurationError(f"--load {args.load:g}: must be above 0 and at most 100")
    config = serving_config(args)
    check_settings(config, len(resolve_devices(config.devices)))
    make_directory(args.out)
    asyncio.run(_demo(args, config))


def make_directory(path: Path) -> None:
    """Raises ConfigurationError if there can't be a directory."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--out {path}: cannot make the directory: {error}") from error


def make_trace(model: LoadedModel, cost: CostModel, seed: int, load: float) -> tuple[TraceEntry, ...]:
    """Twelve requests that offer `load` times what the devices can do at degree 1; the largest size is left out."""
    num_steps, sizes = model.menu.card.default_num_inference_steps, model.menu.sizes[:-1] or model.menu.sizes
    mean_solo_s = statistics.fmean(cost.solo_s(size, num_steps, 1) for size in sizes)
    rate_per_min = 60 * load * model.executor.num_devices / mean_solo_s
    config = WorkloadConfig(uniform(sizes), NUM_REQUESTS, "poisson", rate_per_min, num_steps, seed)
    trace = generate(config, lambda size: max(SLO_FACTOR * cost.solo_s(size, num_steps), published_slo_s(size)))
    return tuple(replace(entry, arrival_s=entry.arrival_s - trace[0].arrival_s) for entry in trace)


async def _demo(args: argparse.Namespace, config: ServingConfig) -> None:
    console = Console()
    with progress_bar(console, "Starting") as progress:
        async with loaded_model(config, progress) as model:
            num_devices = model.executor.num_devices
            cost = CostModel(model.profile, num_devices)
            trace = make_trace(model, cost, args.seed, args.load)
            replies = await _serve_trace(console, model, config, trace)
            baselines = [name for name, degree in BASELINES.items() if degree in cost.degrees and name != config.policy]
            rows = [(config.policy, attainment(replies), "served here")]
            for name in baselines if args.compare else ():
                baseline = await _serve_trace(console, model, replace(config, policy=name), trace)
                rows.append((name, attainment(baseline), "served here"))
    requests = [entry.to_request() for entry in trace]
    for name in (config.policy, *baselines):
        outcomes = simulate(cost, requests, name, num_devices).outcomes
        rows.append((name, slo_attainment(outcomes), "simulated from the measured profile"))
    console.print(_requests_table(replies))
    console.print(_policies_table(rows))
    save_images(args.out, replies)
    console.print(f"Images and {SHEET_FILE} are in {args.out}", highlight=False, soft_wrap=True)


async def _serve_trace(
    console: Console, model: LoadedModel, config: ServingConfig, trace: Sequence[TraceEntry]
) -> list[Reply]:
    app = create_app(model.service(config))
    with bind("127.0.0.1", 0) as listener, progress_bar(console, f"Serving with {config.policy}") as progress:
        progress(0, len(trace), "waiting for the first image")
        replied: list[Reply] = []

        def on_reply(reply: Reply) -> None:
            replied.append(reply)
            progress(len(replied), len(trace), f"{reply.entry.size} {reply.entry.prompt}")

        async with serving_in_background(app, listener):
            replies = await send_all(Target(base_url(listener), keep_images=True), trace, on_reply)
    for reply in replies:
        if not reply.ok:
            raise EngineError(f"request {reply.entry.request_id} failed with {reply.code}: {reply.error}")
    return replies


def attainment(replies: Sequence[Reply]) -> float:
    """Share of replies within their deadlines, by the server's clock."""
    return statistics.fmean(reply.report["met_deadline"] for reply in replies)


def run_lengths(degrees: Sequence[int]) -> str:
    """`1x8 2x12` for eight steps at degree 1, then twelve at degree 2."""
    runs: list[tuple[int, int]] = []
    for degree in degrees:
        if runs and runs[-1][0] == degree:
            runs[-1] = (degree, runs[-1][1] + 1)
        else:
            runs.append((degree, 1))
    return " ".join(f"{degree}x{count}" for degree, count in runs)


def _requests_table(replies: Sequence[Reply]) -> Table:
    table = Table(title=f"{len(replies)} requests over HTTP (degrees: 2x8 is eight steps on two devices)")
    for heading in ("request", "size", "arrival", "deadline", "latency"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("degrees", overflow="fold")
    table.add_column("met")
    for reply in replies:
        report, entry = reply.report, reply.entry
        times_s = (entry.arrival_s, report["slo_s"], report["latency_s"])
        met = "[green]yes[/]" if report["met_deadline"] else "[red]late[/]"
        degrees = run_lengths(report["degrees"])
        table.add_row(entry.request_id, str(entry.size), *(f"{time_s:.1f} s" for time_s in times_s), degrees, met)
    return table


def _policies_table(rows: Sequence[tuple[str, float, str]]) -> Table:
    table = Table("policy", "met", "SLO attainment", "how", title="SLO attainment of this workload, by policy")
    for name, share, how in rows:
        table.add_row(name, f"{share * NUM_REQUESTS:.0f} of {NUM_REQUESTS}", f"{share:.0%}", how)
    return table


def save_images(directory: Path, replies: Sequence[Reply]) -> None:
    """One PNG a reply, and a contact sheet of all."""
    exhibits = []
    for reply in replies:
        entry, report, png = reply.entry, reply.report, reply.png()
        (directory / f"{entry.request_id}-{entry.prompt.replace(' ', '-')}-{entry.size}.png").write_bytes(png)
        late = "" if report["met_deadline"] else " (late)"
        caption = f"{entry.prompt}\n{entry.size}  {report['latency_s']:.1f} of {report['slo_s']:.1f} s{late}"
        exhibits.append(Exhibit(png, caption, bool(late)))
    write_contact_sheet(directory / SHEET_FILE, exhibits)
