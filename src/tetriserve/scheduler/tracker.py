"""The life of one request, from arrival to outcome. Source: TetriServe §3 (request tracker)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.core.steps import ended_steps, is_whole
from tetriserve.scheduler.view import RequestView

LIMIT_FACTOR = 4
"""Two requests that both break devices acquit each other: so many times `max_losses` is enough for anyone."""


@dataclass(slots=True, eq=False)
class TrackedRequest:
    """A request and how far it is. `committed_steps` >= steps done, of which `len(degrees)` have ended.

    `encode_s` and `decode_s` are predictions. `losses` counts its chunks that were running when something broke, since
    the last one that was done; `acquittals` losses of devices in that time that it had no part in. `rolls_back` from
    the loss of a chunk until none is in flight.
    """

    request: Request
    encode_s: float
    decode_s: float
    committed_steps: float = 0
    encode_committed: bool = False
    encoded: bool = False
    rolls_back: bool = False
    alone: bool = False
    in_flight: int = 0
    devices: tuple[int, ...] = ()
    degrees: list[int] = field(default_factory=list)
    gpu_seconds: float = 0.0
    started_s: float | None = None
    losses: int = 0
    acquittals: int = 0
    lost_on: tuple[int, ...] = ()
    error: tuple[str, str] | None = None
    _view: RequestView | None = None

    @property
    def order(self) -> tuple[float, str]:
        """First come, first served; ties by id, so that the order of equal arrivals never matters."""
        return self.request.arrival_s, self.request.request_id

    @property
    def remaining_steps(self) -> float:
        """Steps nobody has committed to."""
        return self.request.num_inference_steps - self.committed_steps

    @property
    def is_within_step(self) -> bool:
        """Whether it stands, or will stand when all that is committed has ended, within a step."""
        return not is_whole(self.committed_steps)

    def view(self, ready_s: float | None) -> RequestView:
        """What policies see; `ready_s` is None when nothing of it is in flight."""
        ready_s = self.request.arrival_s if ready_s is None else ready_s
        if self._view is None or self._view.ready_s != ready_s:
            self._view = self._make_view(ready_s)
        return self._view

    def commit(self, chunk: Chunk) -> None:
        """A chunk of it was handed to the executor."""
        self._view = None
        self.in_flight += 1
        if chunk.stage is Stage.ENCODE:
            self.encode_committed = True
        elif chunk.stage is Stage.DENOISE:
            self.committed_steps += chunk.num_steps
            self.devices = chunk.devices

    def end(self, chunk: Chunk, started_s: float, finished_s: float) -> None:
        """A chunk of it ended. The steps count unless the request has failed."""
        self._view = None
        self.in_flight -= 1
        degree = len(chunk.devices)
        self.gpu_seconds += (finished_s - started_s) * degree / len(chunk.request_ids)
        if self.started_s is None:
            self.started_s = started_s
        self.encoded |= chunk.stage is Stage.ENCODE
        if chunk.stage is Stage.DENOISE:
            first = chunk.first_steps[chunk.request_ids.index(self.request.request_id)]
            ended = ended_steps(first, chunk.num_steps)
            if not ended:  # nothing that a loss could not undo
                return
            if self.error is None:
                self.degrees.extend([degree] * len(ended))
        self.losses = self.acquittals = 0

    def acquit(self, devices: Sequence[int]) -> None:
        """Devices are lost: if it neither runs on them nor was just lost on them, devices are lost without it too."""
        if self.losses and set(devices).isdisjoint(self.devices + self.lost_on):
            self.acquittals += 1

    def breaks_devices(self, max_losses: int) -> bool:
        """Whether it was lost more often than devices are lost without it; or far too often, whatever others do."""
        return self.losses - self.acquittals >= max_losses or self.losses >= LIMIT_FACTOR * max_losses

    def lose(self, chunk: Chunk, suspect: bool, apart: bool) -> None:
        """A chunk of it ended without effect."""
        self._view = None
        self.in_flight -= 1
        self.losses += suspect
        self.lost_on = chunk.devices if suspect else self.lost_on
        self.alone |= apart
        self.rolls_back = True

    def roll_back(self) -> None:
        """It goes on where the last step that was done has left it."""
        self._view = None
        self.rolls_back = False
        self.committed_steps = len(self.degrees)
        self.encode_committed = self.encoded
        self.devices = ()

    def outcome(self, now_s: float) -> Outcome:
        """How it ended."""
        started_s = now_s if self.started_s is None else self.started_s
        code, message = self.error or (None, None)
        return Outcome(
            request=self.request,
            finished_s=now_s,
            queue_s=started_s - self.request.arrival_s,
            gpu_seconds=self.gpu_seconds,
            degrees=tuple(self.degrees),
            error_code=code,
            error=message,
        )

    def _make_view(self, ready_s: float) -> RequestView:
        request = self.request
        return RequestView(
            request.request_id,
            request.size,
            request.arrival_s,
            request.due_s,
            self.remaining_steps,
            ready_s,
            self.devices,
            0.0 if self.encode_committed else self.encode_s,
            self.decode_s,
            request.weight,
            self.alone,
        )
