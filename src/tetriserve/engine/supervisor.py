"""Keeps workers alive: starts them, listens, lets them join, replaces those that are lost. Runs on one thread."""

import logging
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tetriserve.core.errors import ConfigurationError, EngineError, TetriServeError
from tetriserve.engine.config import ResolvedConfig
from tetriserve.engine.dispatch import Dispatcher
from tetriserve.engine.membership import Membership, Plan
from tetriserve.engine.messages import (
    Between,
    Died,
    Finished,
    Joined,
    Notice,
    Proceed,
    Progress,
    Ready,
    Regroup,
    Report,
    StartFailed,
    Stepped,
)
from tetriserve.engine.transport import Transport

logger = logging.getLogger(__name__)

MAX_START_FAILURES = 3
"""So many starts in a row must fail, of every worker, before there is no hope."""
HOPE_S = 60.0
"""And so long must nobody have been there: one that was killed thrice while it started may start the next time."""
MAX_PAUSE_S, MAX_PAUSE_ALONE_S = 60.0, 4.0
"""The longest pause between starts while others work, and while nobody does."""
MAX_REGROUP_FAILURES = 3
STOP_PATIENCE_S = 1.8
START_LIMIT_S = 300.0
"""A worker that starts says what it does; each part of that takes less."""
SILENCE_FACTOR, SILENCE_FLOOR_S = 10.0, 10.0
"""And one that starts again is silent for at most so many times as long as any before, and the floor."""
WATCH_S = 0.1
"""How often workers are looked at that say nothing."""


@dataclass(frozen=True, slots=True)
class MachineInfo:
    """What the workers found: part of a profile's provenance."""

    devices: tuple[str, ...]
    device_name: str
    dtype: str
    torch_version: str


class Supervisor:
    """Owns the workers' lives. `on_progress` and `on_notice` are called on the supervising thread."""

    def __init__(
        self,
        config: ResolvedConfig,
        transport: Transport,
        dispatcher: Dispatcher,
        on_progress: Callable[[str], None],
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._config = config
        self._transport = transport
        self._dispatcher = dispatcher
        self._on_progress = on_progress
        self._on_notice = on_notice
        self._ranks = range(len(config.devices))
        self._members = Membership(len(config.devices))
        self._scratch = Path()
        self._num_failures = dict.fromkeys(self._ranks, 0)
        self._launch_s = dict.fromkeys(self._ranks, 0.0)
        self._last_live_s = 0.0
        self._last_word_s: dict[int, float] = {}
        self._longest_silence_s: float | None = None
        self._num_failed_plans = 0
        self._watched: tuple[int, bool] | None = None
        self._watched_since_s = 0.0
        self._stopping = False
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tetriserve-supervisor", daemon=True)
        self.machine: MachineInfo | None = None

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
            self._transport.wake()
            self._settled.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(STOP_PATIENCE_S)

    def _run(self) -> None:
        # Ctrl-C is the main thread's business; the forkserver and all workers inherit this mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self._scratch = Path(tempfile.mkdtemp(prefix="tetriserve-"))
        try:
            self._supervise()
        except TetriServeError as error:
            self._dispatcher.give_up(error)
        except Exception as error:  # noqa: BLE001  (nobody else would see it, and callers would wait for ever)
            self._dispatcher.give_up(EngineError(f"supervision failed: {error!r}"))
        finally:
            self._transport.end()
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._settled.set()

    def _supervise(self) -> None:
        """Until told to stop. Raises what makes going on pointless."""
        self._on_progress(f"starting {len(self._ranks)} workers")
        while not self._stopping:
            self._launch()
            dead: dict[int, str] = {}
            for rank, report in self._transport.receive(WATCH_S):
                death = self._take(rank, report)
                if death is not None:
                    dead[rank] = death
            dead |= {rank: message for rank, message in self._hung().items() if rank not in dead}
            if dead:
                self._bury(dead)
            self._regroup()
            self._dispatcher.deliver()

    def _take(self, rank: int, report: Report) -> str | None:
        """Act on a report. Returns why the worker is of no use any more, if it says so."""
        silent_s = time.monotonic() - self._last_word_s.get(rank, time.monotonic())
        self._last_word_s[rank] = time.monotonic()
        match report:
            case Progress() | Notice() | Ready():
                self._longest_silence_s = max(silent_s, self._longest_silence_s or 0.0)
                self._hear(rank, report)
            case StartFailed(message, True) if not self._settled.is_set():
                raise ConfigurationError(message)
            case StartFailed(message) | Died(message):
                return message
            case Stepped():
                self._dispatcher.step(report)
            case Finished():
                if report.cut:
                    self._members.spoil(report.cut)
                self._dispatcher.report(rank, report)
            case Between(epoch):
                plan = self._members.plan
                if plan is not None and self._members.arrive(rank, epoch):
                    self._proceed(plan, go=True)
            case Joined():
                return self._finish(rank, report)
        return None

    def _hear(self, rank: int, report: Progress | Notice | Ready) -> None:
        """A worker starts, and has started."""
        match report:
            case Progress(stage):
                self._on_progress(f"worker {rank}: {stage}")
            case Notice(text):
                self._on_notice(text)
            case Ready(device_name, torch_version):
                self.machine = MachineInfo(self._config.devices, device_name, self._config.dtype, torch_version)
                self._members.load(rank)
                self._on_progress(f"worker {rank}: ready")

    # --- groups -------------------------------------------------------------------------------------------------------

    def _regroup(self) -> None:
        """Have groups made that are missing. At first all workers are waited for."""
        if not self._settled.is_set() and len(self._members.loaded) < len(self._ranks):
            return
        plan = self._members.next()
        if plan is not None:
            rendezvous = str(self._scratch / f"epoch-{plan.epoch}")
            self._dispatcher.order(plan.ranks, Regroup(plan.epoch, rendezvous, plan.world, plan.blocks))

    def _proceed(self, plan: Plan, *, go: bool) -> None:
        for rank in plan.ranks:
            self._transport.send(rank, Proceed(plan.epoch, go))

    def _finish(self, rank: int, report: Joined) -> str | None:
        """A rank has made its groups, or could not: then once more, but not for ever."""
        if report.error is None:
            newcomers = self._members.finish(rank, report.epoch)
            if newcomers is not None:
                self._num_failed_plans = 0
                self._num_failures.update(dict.fromkeys(newcomers, 0))
                self._dispatcher.join(newcomers, report.epoch)
                self._settled.set()
        elif self._members.plan is not None and self._members.plan.epoch == report.epoch:
            self._members.call_off()
            self._dispatcher.join((), report.epoch)
            self._num_failed_plans += 1
            if self._num_failed_plans >= MAX_REGROUP_FAILURES:
                return f"could not join the others: {report.error}"
        return None

    # --- deaths -------------------------------------------------------------------------------------------------------

    def _hung(self) -> Mapping[int, str]:
        """Workers that have been silent for too long."""
        late = self._dispatcher.overdue()
        if late is not None:
            return dict.fromkeys(*late)
        plan, now_s = self._members.plan, time.monotonic()
        known, limit_s = self._members.live | self._members.loaded, self._silence_limit_s()
        silent = [rank for rank, at_s in self._last_word_s.items() if rank not in known and now_s > at_s + limit_s]
        if silent:
            return dict.fromkeys(silent, f"hung while it started: silent for {limit_s:.1f} s")
        if plan is None:
            return {}
        stage = (plan.epoch, self._members.is_gathering)
        busy = not all(self._dispatcher.is_idle(rank, plan.epoch) for rank in self._members.late)
        if busy or stage != self._watched:
            self._watched, self._watched_since_s = stage, now_s
        limit_s = self._config.join_limit_s if self._settled.is_set() else START_LIMIT_S
        words_s = [self._last_word_s.get(rank, 0.0) for rank in self._members.late]
        if now_s - max([self._watched_since_s, *words_s]) <= limit_s:
            return {}
        return dict.fromkeys(self._members.late, f"hung while groups were made: {limit_s:g} s")

    def _silence_limit_s(self) -> float:
        """Of a worker that starts: what is usual here is known when all have started once."""
        if not self._settled.is_set() or self._longest_silence_s is None:
            return START_LIMIT_S
        return min(START_LIMIT_S, SILENCE_FLOOR_S + SILENCE_FACTOR * self._longest_silence_s)

    def _bury(self, dead: Mapping[int, str]) -> None:
        """Go on without some workers, and start others in their place."""
        ranks = set(dead)
        if not self._config.can_abort:  # whoever is in an exchange with a dead one can't be got out of it alive
            ranks = self._dispatcher.entangled(ranks)
        for rank in ranks:
            self._transport.kill(rank)
        message = "; ".join(f"worker {rank} {why}" for rank, why in sorted(dead.items()))
        were_live = self._members.live & ranks
        off = self._members.lose(ranks)
        if off is not None:
            self._proceed(off, go=False)
            self._dispatcher.join((), off.epoch)
        for block in self._dispatcher.lose(were_live, message):
            self._members.spoil(block)
        self._replace(ranks, were_live, message)

    def _replace(self, ranks: Collection[int], were_live: Collection[int], message: str) -> None:
        """Plan the start of others, after a pause if starts fail again and again."""
        for rank in ranks:
            self._num_failures[rank] += rank not in were_live
            max_pause_s = MAX_PAUSE_S if self._members.live else MAX_PAUSE_ALONE_S
            pause_s = min(max_pause_s, 2.0 ** (self._num_failures[rank] - 2)) if self._num_failures[rank] > 1 else 0.0
            self._launch_s[rank] = time.monotonic() + pause_s
            self._last_word_s.pop(rank, None)
            logger.warning("%s; worker %d is started again in %g s", message, rank, pause_s)
        if were_live:
            self._last_live_s = time.monotonic()
        all_fail = min(self._num_failures.values()) >= MAX_START_FAILURES
        if not self._settled.is_set() or (all_fail and time.monotonic() >= self._last_live_s + HOPE_S):
            raise EngineError(f"the workers can't be started: {message}")

    def _launch(self) -> None:
        """Start those workers that are due."""
        for rank in [rank for rank, at_s in self._launch_s.items() if at_s <= time.monotonic()]:
            del self._launch_s[rank]
            self._last_word_s[rank] = time.monotonic()
            self._transport.launch(self._config.setup(rank))
