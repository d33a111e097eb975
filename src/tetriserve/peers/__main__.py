"""`python -m tetriserve.peers`: serve another engine at a fixed degree, first come first served."""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tetriserve.core.errors import ConfigurationError, EngineError
from tetriserve.engine.devices import resolve_devices, resolve_dtype, threads_per_worker
from tetriserve.models.card import read_card
from tetriserve.models.source import find_model
from tetriserve.peers.app import create_app
from tetriserve.peers.fifo import Fifo
from tetriserve.peers.job import ALONE, ENGINES, ReplicaPlan
from tetriserve.peers.replica import Replica
from tetriserve.runtime.menu import Menu
from tetriserve.server.listen import base_url, bind, serve_until_signal

START_S = 300.0


@dataclass
class AtOnce:
    """A drain that waits for nobody: who measures this server sends a signal when all has been answered."""

    grace_s: float = 0.0
    is_idle: bool = field(default=True)

    def begin(self) -> None:
        """Nothing to do."""

    def give_up(self) -> None:
        """Nothing to do."""


def main() -> None:
    """Serve until a signal. Exits with 2 on bad options, with 1 if a worker can't start."""
    parser = argparse.ArgumentParser(prog="python -m tetriserve.peers", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--degree", type=int, default=1, help="devices that work on one image (default 1)")
    parser.add_argument("--model", required=True, help="a directory, or random:ARCHITECTURE")
    parser.add_argument("--devices", default="auto", help="as of `tetriserve serve`")
    parser.add_argument("--dtype", default="auto", help="as of `tetriserve serve`")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            asyncio.run(_serve(args, plans(args, Path(scratch))))
    except ConfigurationError as error:
        parser.error(str(error))
    except EngineError as error:
        sys.exit(f"{parser.prog}: {error}")


def plans(args: argparse.Namespace, scratch: Path) -> list[ReplicaPlan]:
    """As many replicas as the devices allow. Raises ConfigurationError."""
    devices, degree = resolve_devices(args.devices), args.degree
    if degree < 1 or len(devices) % degree:
        raise ConfigurationError(f"--degree {degree}: must divide the {len(devices)} devices")
    if degree > 1 and args.engine in ALONE:
        raise ConfigurationError(f"--degree {degree}: {args.engine} works on one device")
    common = (resolve_dtype(args.dtype, devices), threads_per_worker(devices))
    groups = [devices[first : first + degree] for first in range(0, len(devices), degree)]
    model_dir = str(find_model(args.model))
    return [
        ReplicaPlan(args.engine, model_dir, group, *common, str(scratch / f"store-{number}"))
        for number, group in enumerate(groups)
    ]


async def _serve(args: argparse.Namespace, wanted: list[ReplicaPlan]) -> None:
    card = read_card(Path(wanted[0].model_dir))
    with bind("127.0.0.1", args.port) as listener, contextlib.ExitStack() as stack:
        replicas = []
        for plan in wanted:
            replica = Replica.start(plan)
            stack.callback(replica.stop)
            replicas.append(replica)
        for replica in replicas:
            await asyncio.to_thread(replica.wait, START_S)
        fifo = Fifo(replicas)
        name = f"{args.engine}-sp{args.degree}"
        app = create_app(fifo, Menu(card, card.sizes), name, len(replicas) * args.degree)
        greeting = f"{name} serves {card.name} at {base_url(listener)}\n"
        async with fifo.running():
            await serve_until_signal(app, listener, lambda: print(greeting, file=sys.stderr), AtOnce())  # noqa: T201


if __name__ == "__main__":
    main()
