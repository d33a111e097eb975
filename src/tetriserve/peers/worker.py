"""One process of a peer: one rank of one replica. Imports torch only when it runs, after it has chosen its GPUs."""

import os
import traceback
from multiprocessing.connection import Connection

from tetriserve.peers.job import Failed, Job, ReplicaPlan

MAX_MESSAGE_CHARS = 2000


def work(connection: Connection, plan: ReplicaPlan, rank: int) -> None:
    """Load, say so with None, and answer every Job with Made or Failed, until the other end is closed."""
    _see_only(plan.devices)
    try:
        from tetriserve.peers.engines import make_engine  # noqa: PLC0415

        engine = make_engine(plan, rank)
    except Exception:  # noqa: BLE001  (the parent tells whoever started it)
        connection.send(Failed(_last_words()))
        return
    connection.send(None)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            break
        try:
            connection.send(engine.make(job))
        except Exception:  # noqa: BLE001  (one image failed; the next may not)
            connection.send(Failed(_last_words()))
    os._exit(0)  # process groups take their time to end


def _see_only(devices: tuple[str, ...]) -> None:
    """Hide the other GPUs, so that those of this replica are numbered from 0, as engines expect of a host."""
    if devices[0] == "cpu":
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [int(device.partition(":")[2]) for device in devices]
    names = visible.split(",") if visible else []
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[number] if names else str(number) for number in numbers)


def _last_words() -> str:
    return traceback.format_exc()[-MAX_MESSAGE_CHARS:]
