"""`tetriserve profile`."""

import argparse
import asyncio

from rich.console import Console
from rich.table import Table

from tetriserve.commands.options import check_writable, serving_config
from tetriserve.commands.progress import progress_bar
from tetriserve.core.blocks import degrees
from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.extrapolation import extrapolated
from tetriserve.cost.profile import Profile
from tetriserve.runtime.launch import measure_and_store


def run(args: argparse.Namespace) -> None:
    """Measure, store, and show."""
    if not 3 <= args.repetitions <= 1000:
        raise ConfigurationError(f"--repetitions {args.repetitions}: must be from 3 to 1000")
    if args.extrapolate < 1 or args.extrapolate & (args.extrapolate - 1):
        raise ConfigurationError(f"--extrapolate {args.extrapolate}: must be a power of two")
    if args.out is not None:
        check_writable(args.out)
    console, config = Console(), serving_config(args)
    with progress_bar(console, "Profiling") as progress:
        profile, path = asyncio.run(measure_and_store(config, progress, args.repetitions))
    console.print(_table(profile))
    console.print(f"stored in {path}", highlight=False, soft_wrap=True)
    if args.out is not None:
        args.out.write_text(extrapolated(profile, args.extrapolate).to_json(), encoding="utf-8")
        console.print(f"written to {args.out}", highlight=False, soft_wrap=True)


def _table(profile: Profile) -> Table:
    table = Table(title=f"{profile.model} on {profile.gpu}, {profile.dtype}; {profile.how}; milliseconds")
    known = degrees(profile.num_gpus_measured)
    for heading in ("size", *(f"step, degree {degree}" for degree in known), "encode", "decode"):
        table.add_column(heading, justify="right")
    for size in dict.fromkeys(entry.size for entry in profile.entries):
        steps = [entry.step_s for entry in profile.entries if entry.size == size and entry.batch == 1]
        stages = [stage.seconds for stage in profile.stages if stage.size == size]
        table.add_row(str(size), *(f"{seconds * 1e3:.1f}" for seconds in (*steps, *stages)))
    table.caption = f"switch of device: {1e3 * (profile.switch_s or 0):.2f} ms"
    return table
