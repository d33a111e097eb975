"""The gate: whether a call is let in, what it weighs, and in how many steps it is made."""

import math
from collections import Counter
from collections.abc import Callable

from tetriserve.core.errors import EngineError
from tetriserve.core.request import Request
from tetriserve.runtime.observer import Observer
from tetriserve.runtime.service import Service
from tetriserve.scheduler.admission import Foresight
from tetriserve.server.call import Call
from tetriserve.server.config import ServerConfig
from tetriserve.server.errors import RejectedError, UnavailableError


class Gate(Observer):
    """Counts every caller's images that are not finished, and asks the scheduler what it can promise.

    What was let in counts at once, though a job is written down before the scheduler hears of it.
    """

    def __init__(self, service: Service, config: ServerConfig) -> None:
        self._service = service
        self._config = config
        self._held: Counter[str] = Counter()
        self._coming: dict[str, Request] = {}
        self.on_rejection: list[Callable[[RejectedError], None]] = []
        self.is_closed = False
        service.runtime.recorder.observers.append(self)

    @property
    def num_held(self) -> int:
        """Images that were let in and are not over."""
        return self._held.total()

    def close(self) -> None:
        """Let nobody in any more."""
        self.is_closed = True

    def admit(self, call: Call) -> Call:
        """The call as it is to be run, counted until `leave`.

        Raises RejectedError, UnavailableError if the gate is closed, or EngineError if nothing can be run any more.
        """
        if self.is_closed:
            retry_s = math.ceil(self._config.grace_s) + 1
            raise UnavailableError("this server is ending and takes nothing new", "draining", retry_after_s=retry_s)
        if self._service.runtime.failure is not None:
            raise EngineError(self._service.runtime.failure)
        try:
            admitted = self._admitted(call)
        except RejectedError as error:
            for tell in self.on_rejection:
                tell(error)
            raise
        self.readmit(admitted)
        return admitted

    def readmit(self, call: Call) -> None:
        """Count a call that was let in, be it by an earlier server: there is always room for it."""
        self._held[call.caller] += call.params.n
        self._coming.update((one.request_id, one) for one in call.requests())

    def arrived(self, request: Request) -> None:
        """The scheduler knows of it now."""
        self._coming.pop(request.request_id, None)

    def leave(self, call: Call) -> None:
        """An admitted call is over, however it ended. Once for each."""
        for one in call.requests():
            self._coming.pop(one.request_id, None)
        self._held[call.caller] -= call.params.n
        assert self._held[call.caller] >= 0, f"{call.request_id} left twice"
        if not self._held[call.caller]:
            del self._held[call.caller]

    def _admitted(self, call: Call) -> Call:
        self._check_room(call)
        share = self._share(call)
        if share < 1.0:
            call = call.with_weight(call.params.weight * share)
        return call if self._config.admission == "best-effort" else self._keep_promise(call)

    def _check_room(self, call: Call) -> None:
        """The queue is bounded, and nobody may hold more of it than is left for others.

        Source: dynamic thresholds for shared buffers (Choudhury & Hahne 1998): there is always room for a newcomer.
        """
        held, most = self._held.total(), self._config.max_queue
        if held + call.params.n > most:
            raise RejectedError(f"{held} images are waiting or being made; this server takes {most}", "queue_full")
        own = self._held[call.caller]
        if len(self._config.api_keys) > 1 and own + call.params.n > most - held:
            raise RejectedError(
                f"{own} images of this key are waiting or being made, and only {most - held} places are left for all",
                "queue_share_used_up",
            )

    def _share(self, call: Call) -> float:
        """1 for whoever holds no more images than the callers' mean, less in proportion for who holds more."""
        own = self._held[call.caller] + call.params.n
        num_callers = len(self._held.keys() | {call.caller})
        return min(1.0, (self._held.total() + call.params.n) / num_callers / own)

    def _keep_promise(self, call: Call) -> Call:
        """The call, in as many steps as can be done in time. Raises RejectedError if that is fewer than it takes."""
        first = self._foresee(call)
        if first.can_be_met:
            return call
        least = call.min_steps
        if self._config.admission == "degrade" and least is not None and least < call.params.num_inference_steps:
            return self._degrade(call, least, first)
        raise _unmeetable(call, first)

    def _degrade(self, call: Call, least: int, first: Foresight) -> Call:
        """Bisects for the most steps that can be met; `most` steps can't."""
        shortest = call.with_steps(least)
        if not self._foresee(shortest).can_be_met:
            raise _unmeetable(call, first)
        fewest, most, best = least, call.params.num_inference_steps, shortest
        while most - fewest > 1:
            middle = (fewest + most) // 2
            trial = call.with_steps(middle)
            if self._foresee(trial).can_be_met:
                fewest, best = middle, trial
            else:
                most = middle
        return best

    def _foresee(self, call: Call) -> Foresight:
        now_s = self._service.runtime.now_s()
        return self._service.runtime.scheduler.foresee(call.requests(), now_s, tuple(self._coming.values()))


def _unmeetable(call: Call, found: Foresight) -> RejectedError:
    if math.isinf(found.finished_s):
        return RejectedError("no device is up; they are being restarted", "deadline_unmeetable", 1)
    finished_s = found.finished_s + call.delivery_s
    predicted_s, slo_s = finished_s - call.arrival_s, call.deadline_s - call.arrival_s
    if found.num_harmed:
        why = f"and would make {found.num_harmed} accepted images late, or later"
    else:
        why = "and the deadline could not be met"
    late_s = finished_s - call.deadline_s
    message = f"predicted to be there after {predicted_s:.2f} s with a deadline of {slo_s:.2f} s, {why}"
    return RejectedError(message, "deadline_unmeetable", max(1, math.ceil(late_s)), predicted_s)
