"""Everything that parent and workers say to each other: msgpack, never pickle."""

import msgspec
from msgspec import Struct

from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.config import AS_IT_IS, LoadingConfig

# --- parent -> worker ------------------------------------------------------------------------------------------------


class Setup(Struct, frozen=True, tag=True):
    """The first message: who the worker is and what it loads. Ranks are indices into `devices`.

    `cells` are the sizes and batches whose steps GPUs make ready as graphs; `may_interrupt` as in `EngineConfig`.
    """

    model_dir: str
    devices: tuple[str, ...]
    rank: int
    dtype: str
    num_threads: int
    cells: tuple[tuple[Size, int], ...] = ()
    loading: LoadingConfig = AS_IT_IS
    may_interrupt: bool = True


class Encode(Struct, frozen=True, tag=True):
    """Run the text encoders."""

    chunk_id: int
    request: Request


class Denoise(Struct, frozen=True, tag=True):
    """Take steps, or parts of one, together with the other ranks of the block; counts as in `core.chunk.Chunk`."""

    chunk_id: int
    request_ids: tuple[str, ...]
    block: tuple[int, ...]
    first_steps: tuple[float, ...]
    num_steps: float


class Decode(Struct, frozen=True, tag=True):
    """Make the image."""

    chunk_id: int
    request_id: str


class Send(Struct, frozen=True, tag=True):
    """Give a request's latents, and its conditioning if that is missing there, to another rank."""

    request_id: str
    target: int
    with_conditioning: bool


class Receive(Struct, frozen=True, tag=True):
    """The other side of a Send."""

    request: Request
    source: int
    with_conditioning: bool


class Restore(Struct, frozen=True, tag=True):
    """Go on with a request from here: take these latents, or the first ones.

    With `anew` the rank has no conditioning of it, or none to rely on: the prompt is encoded (again).
    """

    request: Request
    latents: bytes | None
    anew: bool


class Regroup(Struct, frozen=True, tag=True):
    """Make process groups anew together with all ranks of `world` and of the blocks, when a Proceed says so.

    `world` is the group for hand-overs; empty if that stays as it is. `rendezvous` is a file of this epoch alone.
    """

    epoch: int
    rendezvous: str
    world: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]


class Proceed(Struct, frozen=True, tag=True):
    """All ranks of a Regroup are there: make the groups; or, `go` false, it is off. Overtakes all other commands."""

    epoch: int
    go: bool


class Cancel(Struct, frozen=True, tag=True):
    """Chunks of this request that have not begun are void. Overtakes all other commands."""

    request_id: str


class Discard(Struct, frozen=True, tag=True):
    """What is kept of an interrupted step of a request is of no use any more: it is taken again."""

    request_id: str


class Release(Struct, frozen=True, tag=True):
    """Forget a request."""

    request_id: str


Command = Setup | Encode | Denoise | Decode | Send | Receive | Restore | Regroup | Proceed | Cancel | Discard | Release

# --- worker -> parent ------------------------------------------------------------------------------------------------


class Progress(Struct, frozen=True, tag=True):
    """What a starting worker does now."""

    stage: str


class Notice(Struct, frozen=True, tag=True):
    """What the operator should read of a start."""

    text: str


class Ready(Struct, frozen=True, tag=True):
    """The model is loaded: this worker can join the others."""

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


class Stepped(Struct, frozen=True, tag=True):
    """So many steps of a chunk that goes on are done; from the first rank of the block, if somebody watches."""

    chunk_id: int
    num_steps: float


class Finished(Struct, frozen=True, tag=True):
    """This rank's part of a chunk is over. Seconds of time.monotonic(), which all processes of a machine share.

    `latents` are those of every request after the steps, from the first rank of the block, to be kept.
    `cut` is the block whose exchanges this rank has broken off, if it has; others may wait in them in vain.
    `lost`: why the work came to nothing though nothing is known against the requests; `apart`: one may be to blame.
    """

    chunk_id: int
    started_s: float
    finished_s: float
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()
    picture: Picture | None = None
    previews: tuple[Preview, ...] = ()
    latents: tuple[bytes, ...] = ()
    cut: tuple[int, ...] = ()
    lost: str | None = None
    apart: bool = False


class Between(Struct, frozen=True, tag=True):
    """This rank has come to a Regroup and waits for the others."""

    epoch: int


class Joined(Struct, frozen=True, tag=True):
    """The groups of a Regroup are made and warm; or could not be made, and `error` says why."""

    epoch: int
    error: str | None = None


class Died(Struct, frozen=True, tag=True):
    """This worker is gone, or of no use any more. Workers say it themselves, or their transport does."""

    message: str


Report = Progress | Notice | Ready | StartFailed | Stepped | Finished | Between | Joined | Died


def encode(message: Command | Report) -> bytes:
    """As it is sent."""
    return msgspec.msgpack.encode(message)


def decode_command(sent: bytes) -> Command:
    """What a parent has sent."""
    command: Command = msgspec.msgpack.decode(sent, type=Command)
    return command


def decode_report(sent: bytes) -> Report:
    """What a worker has sent."""
    report: Report = msgspec.msgpack.decode(sent, type=Report)
    return report
