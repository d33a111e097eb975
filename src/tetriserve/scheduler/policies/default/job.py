"""What the policy plans with: one request, or a batch of equal size, as of now."""

from collections.abc import Callable
from dataclasses import dataclass

from tetriserve.core.size import Size
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import TOLERANCE_S, RequestView

CurveOf = Callable[[Size], StepCurve]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Steps to take together. Times are seconds from now. `key` is its first request: none is in two jobs of a plan.

    `begin_s` is when its first step can start and `due_s` when the last must have ended; `curve` has the times of a
    step by degree and `ladder` the same in ascending order; `gpu_s` is the least GPU time that meets the deadline.
    """

    key: str
    members: tuple[RequestView, ...]
    curve: StepCurve
    ladder: tuple[tuple[int, float], ...]
    num_steps: int
    begin_s: float
    due_s: float
    gpu_s: float
    in_flight: bool

    @classmethod
    def of(cls, members: tuple[RequestView, ...], curve: StepCurve, now_s: float, ready_by_s: float) -> "Job":
        """A job of requests of one size; a batch lasts as long as its longest member and is due with its first."""
        num_steps = max([one.remaining_steps for one in members])
        ready_s = max([one.ready_s for one in members])
        begin_s = max(ready_s - now_s, 0.0) + sum([one.encode_s for one in members])
        due_s = min([one.deadline_s - one.decode_s for one in members]) - now_s
        return cls(
            key=members[0].request_id,
            members=members,
            curve=curve,
            ladder=tuple(sorted(curve.step_s.items())),
            num_steps=num_steps,
            begin_s=begin_s,
            due_s=due_s,
            gpu_s=curve.least_gpu_s(num_steps, due_s - begin_s),
            in_flight=ready_s > ready_by_s + TOLERANCE_S,
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """Its requests."""
        return tuple([one.request_id for one in self.members])

    @property
    def ends_s(self) -> float:
        """When its last step would end at full speed from its begin."""
        return self.begin_s + self.num_steps * self.curve.fastest_s

    @property
    def last_devices(self) -> tuple[int, ...]:
        """Where it was."""
        return self.members[0].last_devices
