"""`tetriserve demo`: a server under a mixed load of twelve requests, and how it went."""

import argparse
import asyncio
import random
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tetriserve.bench.client import Call, Reply, send_all
from tetriserve.bench.contact_sheet import Exhibit, write_contact_sheet
from tetriserve.commands.options import serving_config
from tetriserve.commands.progress import progress_bar
from tetriserve.core.errors import ConfigurationError, EngineError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.runtime.config import ServingConfig
from tetriserve.runtime.launch import LoadedModel, loaded_model
from tetriserve.server.app import create_app
from tetriserve.server.listen import base_url, bind, serving_in_background
from tetriserve.sim.simulate import simulate
from tetriserve.workload.prompts import PROMPTS

NUM_REQUESTS = 12
SLO_FACTOR = 2.0
"""Deadlines are this multiple of the fastest possible time of the size on this machine."""
BASELINES = ("fixed-sp1", "fixed-sp2")
SHEET_FILE = "contact-sheet.png"


def run(args: argparse.Namespace) -> None:
    """Serve, show, save."""
    if not 0 < args.load <= 100:
        raise ConfigurationError(f"--load {args.load:g}: must be above 0 and at most 100")
    config = serving_config(args)
    make_directory(args.out)
    asyncio.run(_demo(args, config))


def make_directory(path: Path) -> None:
    """Raises ConfigurationError if there can't be a directory."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--out {path}: cannot make the directory: {error}") from error


def make_calls(cost: CostModel, sizes: Sequence[Size], num_steps: int, seed: int, load: float) -> list[Call]:
    """Twelve calls of mixed sizes. They arrive at random and offer `load` times what the devices can do at degree 1."""
    rng = random.Random(seed)
    mix = [sizes[index % len(sizes)] for index in range(NUM_REQUESTS)]
    rng.shuffle(mix)
    mean_gap_s = statistics.fmean(cost.solo_s(size, num_steps, 1) for size in mix) / (cost.degrees[-1] * load)
    calls, at_s = [], 0.0
    for index, (size, prompt) in enumerate(zip(mix, rng.sample(PROMPTS, NUM_REQUESTS), strict=True)):
        slo_s = SLO_FACTOR * cost.solo_s(size, num_steps)
        body = {
            "prompt": prompt,
            "size": str(size),
            "seed": index,
            "num_inference_steps": num_steps,
            "slo_ms": slo_s * 1e3,
        }
        calls.append(Call(f"{index + 1:02d}", at_s, body))
        at_s += rng.expovariate(1 / mean_gap_s)
    return calls


async def _demo(args: argparse.Namespace, config: ServingConfig) -> None:
    console = Console()
    with progress_bar(console, "Starting") as progress:
        async with loaded_model(config, progress) as model:
            cost = CostModel(model.profile, model.executor.num_devices)
            calls = make_calls(
                cost, model.menu.sizes, model.menu.card.default_num_inference_steps, args.seed, args.load
            )
            replies = await _run_load(console, model, config, calls)
            measured = {config.policy: attained(replies)}
            for name in [name for name in BASELINES if args.compare and int(name[-1]) in cost.degrees]:
                measured[name] = attained(await _run_load(console, model, replace(config, policy=name), calls))
    simulated = {name: _simulated(cost, calls, name) for name in BASELINES if int(name[-1]) in cost.degrees}
    console.print(_requests_table(replies))
    console.print(_policies_table(measured, simulated))
    _save(console, args.out, replies)


async def _run_load(console: Console, model: LoadedModel, config: ServingConfig, calls: Sequence[Call]) -> list[Reply]:
    app = create_app(model.service(config))
    with bind("127.0.0.1", 0) as listener, progress_bar(console, f"Serving with {config.policy}") as progress:
        replied: list[Reply] = []

        def on_reply(reply: Reply) -> None:
            replied.append(reply)
            progress(len(replied), len(calls), f"{reply.call.body['size']} {reply.call.body['prompt']}")

        progress(0, len(calls), "waiting for the first image")
        async with serving_in_background(app, listener):
            replies = await send_all(base_url(listener), calls, on_reply)
    for reply in replies:
        if not reply.ok:
            raise EngineError(f"request {reply.call.call_id} failed with status {reply.status}: {reply.error}")
    return replies


def attained(replies: Sequence[Reply]) -> int:
    """Replies within their deadlines, by the server's clock."""
    return sum(bool(reply.report["met_deadline"]) for reply in replies)


def _simulated(cost: CostModel, calls: Sequence[Call], policy: str) -> int:
    requests = [
        Request(
            call.call_id,
            call.body["prompt"],
            Size.parse(call.body["size"]),
            call.body["num_inference_steps"],
            1.0,
            call.body["seed"],
            call.at_s,
            call.at_s + call.body["slo_ms"] / 1e3,
        )
        for call in calls
    ]
    outcomes = simulate(cost, requests, policy, cost.degrees[-1]).outcomes
    return sum(outcome.met_deadline for outcome in outcomes)


def _requests_table(replies: Sequence[Reply]) -> Table:
    table = Table(title=f"{len(replies)} requests over HTTP")
    for heading in ("request", "size", "prompt", "arrives", "deadline", "latency", "degrees", "met"):
        table.add_column(heading, justify="left" if heading in ("prompt", "degrees") else "right")
    for reply in replies:
        report, body = reply.report, reply.call.body
        met = "[green]yes[/]" if report["met_deadline"] else "[red]late[/]"
        table.add_row(
            reply.call.call_id,
            body["size"],
            body["prompt"],
            f"{reply.call.at_s:.1f} s",
            f"{report['slo_s']:.1f} s",
            f"{report['latency_s']:.1f} s",
            run_lengths(report["degrees"]),
            met,
        )
    return table


def run_lengths(degrees: Sequence[int]) -> str:
    """`1x8 2x12` for eight steps at degree 1, then twelve at degree 2."""
    runs: list[tuple[int, int]] = []
    for degree in degrees:
        if runs and runs[-1][0] == degree:
            runs[-1] = (degree, runs[-1][1] + 1)
        else:
            runs.append((degree, 1))
    return " ".join(f"{degree}x{count}" for degree, count in runs)


def _policies_table(measured: dict[str, int], simulated: dict[str, int]) -> Table:
    table = Table(title="SLO attainment on this workload")
    for heading in ("policy", "met", "SLO attainment", "how"):
        table.add_column(heading)
    rows = [(name, met, "served here") for name, met in measured.items()]
    rows += [(name, met, "simulated from the measured profile") for name, met in simulated.items()]
    for name, met, how in rows:
        table.add_row(name, f"{met} of {NUM_REQUESTS}", f"{met / NUM_REQUESTS:.0%}", how)
    return table


def _save(console: Console, directory: Path, replies: Sequence[Reply]) -> None:
    exhibits = []
    for reply in replies:
        body, report = reply.call.body, reply.report
        png = reply.png()
        name = "-".join(str(body["prompt"]).lower().split())
        (directory / f"{reply.call.call_id}-{name}-{body['size']}.png").write_bytes(png)
        late = "" if report["met_deadline"] else " (late)"
        caption = f"{body['prompt']}\n{body['size']}  {report['latency_s']:.1f} of {report['slo_s']:.1f} s{late}"
        exhibits.append(Exhibit(png, caption, bool(late)))
    write_contact_sheet(directory / SHEET_FILE, exhibits)
    console.print(f"Images and {SHEET_FILE} are in {directory}", highlight=False, soft_wrap=True)
