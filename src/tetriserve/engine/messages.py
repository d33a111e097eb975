"""Everything that parent and workers say to each other: msgpack over a pipe, never pickle."""

from multiprocessing.connection import Connection

import msgspec
from msgspec import Struct

from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.config import AS_IT_IS, LoadingConfig

# --- parent -> worker ------------------------------------------------------------------------------------------------


class Setup(Struct, frozen=True, tag=True):
    """The first message: who the worker is and what it loads. Ranks are indices into `devices`.

    `cells` are the sizes and batches whose steps GPUs make ready as graphs.
    """

    model_dir: str
    devices: tuple[str, ...]
    rank: int
    dtype: str
    num_threads: int
    rendezvous: str
    cells: tuple[tuple[Size, int], ...] = ()
    loading: LoadingConfig = AS_IT_IS


class Encode(Struct, frozen=True, tag=True):
    """Run the text encoders."""

    chunk_id: int
    request: Request


class Denoise(Struct, frozen=True, tag=True):
    """Take steps together with the other ranks of the block."""

    chunk_id: int
    requests: tuple[Request, ...]
    block: tuple[int, ...]
    first_steps: tuple[int, ...]
    num_steps: int


class Decode(Struct, frozen=True, tag=True):
    """Make the image; `tiled` in tiles, with less memory."""

    chunk_id: int
    request: Request
    tiled: bool = False


class Send(Struct, frozen=True, tag=True):
    """Give a request's latents, and its conditioning if that is missing there, to another rank."""

    request: Request
    target: int
    with_conditioning: bool


class Receive(Struct, frozen=True, tag=True):
    """The other side of a Send."""

    request: Request
    source: int
    with_conditioning: bool


class Cancel(Struct, frozen=True, tag=True):
    """Chunks of this request that have not begun are void. The one command that overtakes all others."""

    request_id: str


class Release(Struct, frozen=True, tag=True):
    """Forget a request."""

    request_id: str


Command = Setup | Encode | Denoise | Decode | Send | Receive | Cancel | Release

# --- worker -> parent ------------------------------------------------------------------------------------------------


class Progress(Struct, frozen=True, tag=True):
    """What a starting worker does now."""

    stage: str


class Notice(Struct, frozen=True, tag=True):
    """What the operator should read of a start."""

    text: str


class Ready(Struct, frozen=True, tag=True):
    """The model is loaded and all process groups are warm."""

    device_name: str
    torch_version: str


class StartFailed(Struct, frozen=True, tag=True):
    """The worker can't start. `is_configuration` if the operator, not the machine, is to blame."""

    message: str
    is_configuration: bool


class Failure(Struct, frozen=True):
    """Why one request of a chunk can't go on."""

    request_id: str
    code: str
    message: str


class Picture(Struct, frozen=True):
    """A decoded image, rgb."""

    width: int
    height: int
    rgb: bytes


class Preview(Struct, frozen=True):
    """An unfinished image."""

    request_id: str
    picture: Picture


class Finished(Struct, frozen=True, tag=True):
    """This rank's part of a chunk is over. Seconds of time.monotonic(), which all processes of a machine share."""

    chunk_id: int
    started_s: float
    finished_s: float
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()
    picture: Picture | None = None
    previews: tuple[Preview, ...] = ()


class Broken(Struct, frozen=True, tag=True):
    """An exchange between ranks failed: no rank's work can be trusted, all workers must be replaced."""

    message: str


Report = Progress | Notice | Ready | StartFailed | Finished | Broken

# --- transport -------------------------------------------------------------------------------------------------------


def send(connection: Connection, message: Command | Report) -> None:
    """Raises OSError if the other side is gone."""
    connection.send_bytes(msgspec.msgpack.encode(message))


def receive_command(connection: Connection) -> Command:
    """Raises EOFError or OSError if the parent is gone."""
    command: Command = msgspec.msgpack.decode(connection.recv_bytes(), type=Command)
    return command


def receive_report(connection: Connection) -> Report:
    """Raises EOFError or OSError if the worker is gone."""
    report: Report = msgspec.msgpack.decode(connection.recv_bytes(), type=Report)
    return report
