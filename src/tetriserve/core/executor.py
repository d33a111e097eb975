"""The seam between deciding and doing: real workers and simulated ones stand behind the same four calls."""

from collections.abc import Sequence
from typing import Protocol

from tetriserve.core.chunk import Chunk
from tetriserve.core.request import Request


class Executor(Protocol):
    """Runs chunks on `num_devices` devices and reports each as one ChunkDone, ChunkFailed or ChunkLost event.

    Every device runs its chunks in the order of their submission. A chunk of a request starts only after that
    request's earlier chunks have ended, and their events come in that order. How events are delivered is the
    implementation's constructor's business.

    Of a DENOISE chunk with a request that `is_watched` it also tells every step but the last as a StepDone, in order,
    before the chunk's event. Steps that end at nearly the same time may be told by the last of them alone.

    Devices can be lost and come back (WorkersLost, WorkersBack). Lost with them are the chunks on them, those submitted
    to them later, and all later chunks of the same requests. A request whose chunk was lost goes on, on any devices,
    with the chunk after its last one that was done: what it needs there is the executor's business. A chunk that was
    planned as if the lost one had been done is lost too.
    """

    @property
    def num_devices(self) -> int:
        """Number of devices, fixed for life."""
        ...

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        """Queue chunks, each with its requests in the order of `chunk.request_ids`. Returns at once."""
        ...

    def cancel(self, request_id: str) -> None:
        """Void a request: chunks that hold no other request and have not started take no time and end as failed.

        Every chunk still ends in its one event, in order. Unknown ids are ignored.
        """
        ...

    def release(self, request_id: str) -> None:
        """Forget all tensors of a request that has ended. Unknown ids are ignored."""
        ...
