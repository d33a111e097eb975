"""Keeps workers alive: starts a generation, listens to it, replaces it when it is lost. Runs on one thread."""

import itertools
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path

from tetriserve.core.errors import ConfigurationError, EngineError, TetriServeError
from tetriserve.engine.config import ResolvedConfig
from tetriserve.engine.dispatch import Dispatcher
from tetriserve.engine.messages import Broken, Finished, Notice, Progress, Ready, Report, StartFailed
from tetriserve.engine.workers import WorkerLostError, Workers

MAX_START_FAILURES = 2
STOP_PATIENCE_S = 1.8


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What the workers found: part of a profile's provenance."""

    devices: tuple[str, ...]
    device_name: str
    dtype: str
    torch_version: str


class Supervisor:
    """Owns the generations of workers. `on_progress` and `on_notice` are called on the supervising thread."""

    def __init__(
        self,
        config: ResolvedConfig,
        dispatcher: Dispatcher,
        on_progress: Callable[[str], None],
        make_workers: Callable[[], Workers] = Workers,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._config = config
        self._dispatcher = dispatcher
        self._on_progress = on_progress
        self._on_notice = on_notice
        self._make_workers = make_workers
        self._wake, self._waker = Pipe(duplex=False)
        self._stopping = False
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tetriserve-supervisor", daemon=True)
        self.machine: MachineInfo | None = None
        self.worker_pids: tuple[int, ...] = ()

    def start(self) -> None:
        """Returns when the workers are ready. Raises ConfigurationError or EngineError if they can't be."""
        self._thread.start()
        self._settled.wait()
        if self._dispatcher.failed is not None:
            raise self._dispatcher.failed
        if self._stopping:
            raise EngineError("the workers were stopped before they were ready")

    def stop(self) -> None:
        """End the workers and the thread. Any thread may call this, more than once."""
        if not self._stopping:
            self._stopping = True
            self._waker.send_bytes(b"stop")
            self._settled.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(STOP_PATIENCE_S)

    def _run(self) -> None:
        # Ctrl-C is the main thread's business; the forkserver and all workers inherit this mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        scratch = Path(tempfile.mkdtemp(prefix="tetriserve-"))
        try:
            self._supervise(scratch)
        except TetriServeError as error:
            self._dispatcher.give_up(error)
        except Exception as error:  # noqa: BLE001  (nobody else would see it, and callers would wait for ever)
            self._dispatcher.give_up(EngineError(f"supervision failed: {error!r}"))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            self._settled.set()

    def _supervise(self, scratch: Path) -> None:
        """Generation after generation until told to stop. Raises what makes another one pointless."""
        num_failures = 0
        for generation in itertools.count(1):
            workers = self._make_workers()
            try:
                self._bring_up(workers, scratch / f"rendezvous-{generation}")
                num_failures = 0
                self._listen(workers)
                return
            except WorkerLostError as error:
                if workers.are_ready:
                    self._dispatcher.lose(str(error))
                    continue
                num_failures += 1
                if generation == 1 or num_failures == MAX_START_FAILURES:
                    raise EngineError(f"the workers can't be started: {error}") from error
            finally:
                self._dispatcher.detach()
                workers.end()
            if self._stopping:
                return

    def _bring_up(self, workers: Workers, rendezvous: Path) -> None:
        """Start a generation and give it what has waited."""
        self._on_progress(f"starting {len(self._config.devices)} workers")
        workers.launch(self._config.setups(rendezvous))
        self.worker_pids = workers.pids
        waiting = set(range(len(self._config.devices)))
        while waiting and not self._stopping:
            for rank, report in workers.receive(self._wake):
                self._on_start_report(rank, report, waiting)
        if not self._stopping:
            workers.are_ready = True
            self._dispatcher.attach(workers)
            self._settled.set()

    def _on_start_report(self, rank: int, report: Report, waiting: set[int]) -> None:
        match report:
            case Progress(stage):
                self._on_progress(f"worker {rank}: {stage}")
            case Notice(text):
                self._on_notice(text)
            case Ready(device_name, torch_version):
                waiting.remove(rank)
                self.machine = MachineInfo(self._config.devices, device_name, self._config.dtype, torch_version)
                self._on_progress(f"worker {rank}: ready")
            case StartFailed(message, True):
                raise ConfigurationError(message)
            case StartFailed(message):
                raise WorkerLostError(f"worker {rank}: {message}")
            case _:
                raise AssertionError(f"worker {rank} sent {report} before it was ready")

    def _listen(self, workers: Workers) -> None:
        """Pass reports on until told to stop. Raises WorkerLostError when the generation is lost."""
        while not self._stopping:
            for rank, report in workers.receive(self._wake):
                match report:
                    case Finished():
                        self._dispatcher.report(rank, report)
                    case Broken(message):
                        raise WorkerLostError(f"worker {rank}: {message}")
                    case _:
                        raise AssertionError(f"worker {rank} sent {report} when it was ready")
