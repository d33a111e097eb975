"""The executor with real workers: the engine's front door."""

import atexit
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from tetriserve.core.chunk import Chunk
from tetriserve.core.errors import TetriServeError
from tetriserve.core.events import News
from tetriserve.core.image import Image
from tetriserve.core.request import Request
from tetriserve.engine.config import EngineConfig, resolve
from tetriserve.engine.dispatch import Dispatcher
from tetriserve.engine.supervisor import MachineInfo, Supervisor
from tetriserve.engine.transport import MakeTransport
from tetriserve.engine.workers import Workers


class ProcessExecutor:
    """Implements core.executor.Executor with one worker process for each device.

    `on_event` gets steps and ends of chunks, WorkersLost and WorkersBack, one at a time, on a thread of the executor's
    own; `on_progress` gets what starting workers do, in words, `on_notice` what of that is worth keeping. None may
    block for long. A script that makes one needs the `if __name__ == "__main__"` that multiprocessing asks for.
    Raises ConfigurationError if the model directory, the devices or the dtype can't be used.
    """

    def __init__(
        self,
        config: EngineConfig,
        on_event: Callable[[News], None],
        on_progress: Callable[[str], None] = lambda text: None,
        on_notice: Callable[[str], None] = lambda text: None,
        make_transport: MakeTransport = Workers,
    ) -> None:
        self.config = resolve(config)
        self._transport = make_transport(len(self.config.devices))
        self._dispatcher = Dispatcher(len(self.config.devices), self._transport, on_event, self.config.can_abort)
        self._supervisor = Supervisor(self.config, self._transport, self._dispatcher, on_progress, on_notice)
        # Whoever drops an executor, or leaves the program, without closing it leaves no processes behind.
        weakref.finalize(self, self._supervisor.stop).atexit = False
        atexit.register(self._supervisor.stop)

    def start(self) -> None:
        """Start the workers and wait until all are ready. Raises ConfigurationError or EngineError if they can't."""
        try:
            self._supervisor.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all workers. Chunks in flight get no event. Takes two seconds at most; may be called again."""
        self._supervisor.stop()
        atexit.unregister(self._supervisor.stop)

    @property
    def num_devices(self) -> int:
        """Number of devices, fixed for life."""
        return len(self.config.devices)

    @property
    def failed(self) -> TetriServeError | None:
        """Why nothing can be run any more, or None. A worker is replaced until its start fails twice in a row."""
        return self._dispatcher.failed

    @property
    def machine(self) -> MachineInfo:
        """What the workers found. Only after `start`."""
        assert self._supervisor.machine is not None
        return self._supervisor.machine

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """Process ids of the newest workers, one for each device."""
        return self._transport.pids

    def submit(self, chunks: Sequence[tuple[Chunk, tuple[Request, ...]]]) -> None:
        """Queue chunks, each with its requests. Returns at once; chunks for devices that are lost end as lost.

        Raises EngineError if a chunk is not one that could ever run, or if `failed`.
        """
        self._dispatcher.submit(chunks)

    def cancel(self, request_id: str) -> None:
        """Void a request: its chunks that have not begun, and hold no other request, take no time and end as failed."""
        self._dispatcher.cancel(request_id)

    def release(self, request_id: str) -> None:
        """Forget all tensors of a request, and its image if nobody took it. Unknown ids are ignored."""
        self._dispatcher.release(request_id)

    def take_image(self, request_id: str) -> Image:
        """The image of a request whose DECODE is done: once, and before `release`. Raises KeyError otherwise."""
        return self._dispatcher.take_image(request_id)

    def take_preview(self, request_id: str) -> Image | None:
        """The newest picture of a request that is being made and asked for partial images, once, in small."""
        return self._dispatcher.take_preview(request_id)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
