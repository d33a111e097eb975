"""A request as a round sees it."""

from dataclasses import dataclass
from typing import NamedTuple

from tetriserve.scheduler.policies.tetriserve.allocation import Share, StepCurve, allocate
from tetriserve.scheduler.view import TOLERANCE_S, RequestView


@dataclass(frozen=True, slots=True)
class Round:
    """The time in which chunks are to run, in absolute seconds."""

    start_s: float
    end_s: float


class Candidate(NamedTuple):
    """A request that could run in the round. `begin_s` is when its first step can start: after its encoding.

    `due_s` is when its last step must end: the deadline less the decoding.
    """

    request: RequestView
    curve: StepCurve
    begin_s: float
    due_s: float

    @classmethod
    def of(cls, request: RequestView, curve: StepCurve, start_s: float) -> "Candidate":
        """The request in a round that starts at `start_s`."""
        return cls(request, curve, start_s + request.encode_s, request.due_s - request.decode_s)

    @property
    def slack_s(self) -> float:
        """What would be left if it ran at full speed from now on; below 0 it is late for certain."""
        return self.due_s - self.begin_s - self.request.remaining_steps * self.curve.fastest_s

    @property
    def is_late(self) -> bool:
        """Whether no schedule can meet its deadline any more. Source: TetriServe §4.2.2."""
        return self.slack_s < -TOLERANCE_S

    def shares(self) -> tuple[Share, ...]:
        """What it needs, see `allocate`; all steps at the fastest degree if nothing is enough."""
        step_s, num_steps = self.curve.step_s, self.request.remaining_steps
        fastest = Share(min(step_s, key=lambda degree: (step_s[degree], degree)), num_steps)
        return allocate(step_s, num_steps, self.due_s - self.begin_s) or (fastest,)

    def has_step_within(self, end_s: float) -> bool:
        """Whether a step ends by then at any degree of the machine."""
        return self.begin_s + self.curve.fastest_s <= end_s + TOLERANCE_S

    def steps_within(self, degree: int, end_s: float) -> float:
        """Steps at `degree` that end by then."""
        fitting = int((end_s - self.begin_s + TOLERANCE_S) / self.curve.step_s[degree])
        return min(self.request.remaining_steps, max(0, fitting))
