"""What the policy plans with: one request, or a batch of equal size, as of now."""

from collections.abc import Callable
from dataclasses import dataclass

from tetriserve.core.size import Size
from tetriserve.scheduler.policies.tetriserve.allocation import StepCurve
from tetriserve.scheduler.view import TOLERANCE_S, RequestView

CurveOf = Callable[[Size], StepCurve]


@dataclass(slots=True, eq=False)
class Job:
    """Steps to take together. `key` is its first request: none is in two jobs of a plan.

    Times are seconds from now, as the profile counts them: where work takes 1.5 times as long, two of them last three
    seconds on the clock.

    Never changed, but not frozen: a decision makes some, and frozen ones take five times as long to make.

    `begin_s` is when its first step can start and `due_s` when the last must have ended; `curve` has the times of a
    step by degree and `ladder`, in ascending order, those it can go on with: within a step, none of a smaller degree
    than where it is; `gpu_s` is the least GPU time that meets the deadline;
    `weight` sums those of its requests.
    """

    key: str
    members: tuple[RequestView, ...]
    curve: StepCurve
    ladder: tuple[tuple[int, float], ...]
    num_steps: float
    begin_s: float
    due_s: float
    gpu_s: float
    weight: float
    in_flight: bool

    @classmethod
    def of(
        cls,
        members: tuple[RequestView, ...],
        curve: StepCurve,
        now_s: float,
        ready_by_s: float,
        window_s: float = 0.0,
        slowness: float = 1.0,
    ) -> "Job":
        """A job of requests of one size; a batch lasts as long as its longest member and is due with its first.

        Who is ready within the window is planned with as if it were now, but has so much less time.
        Work takes `slowness` times as long as the profile says.
        """
        first = members[0]
        num_steps, ready_s, encode_s = first.remaining_steps, first.ready_s, first.encode_s
        due_s, weight = (first.due_s - now_s) / slowness - first.decode_s, first.weight
        for one in members[1:]:
            num_steps, ready_s = max(num_steps, one.remaining_steps), max(ready_s, one.ready_s)
            encode_s, weight = encode_s + one.encode_s, weight + one.weight
            due_s = min(due_s, (one.due_s - now_s) / slowness - one.decode_s)
        begin_s = max(ready_s - now_s, 0.0) / slowness + encode_s
        gpu_s = curve.least_gpu_s(num_steps, due_s - begin_s)
        if begin_s <= window_s:
            due_s -= begin_s
            begin_s = 0.0
        in_flight = ready_s > ready_by_s + TOLERANCE_S
        ladder = curve.ladder
        if first.is_within_step:
            ladder = tuple([rung for rung in ladder if rung[0] >= len(first.last_devices)])
        return cls(first.request_id, members, curve, ladder, num_steps, begin_s, due_s, gpu_s, weight, in_flight)

    @property
    def ids(self) -> tuple[str, ...]:
        """Its requests."""
        return tuple([one.request_id for one in self.members])

    @property
    def ends_s(self) -> float:
        """When its last step would end at full speed from its begin."""
        return self.begin_s + self.num_steps * self.curve.fastest_s

    @property
    def is_within_step(self) -> bool:
        """Whether it can only go on where it was."""
        return self.members[0].is_within_step

    @property
    def last_devices(self) -> tuple[int, ...]:
        """Where it was."""
        return self.members[0].last_devices
