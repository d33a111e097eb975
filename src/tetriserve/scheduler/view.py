"""What a policy sees and what it answers. A policy is a pure function of both; nothing here can be changed by it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from tetriserve.core.size import Size
from tetriserve.core.steps import MAX_INTERRUPTED, is_whole
from tetriserve.cost.model import CostModel

TOLERANCE_S = 1e-6
"""Times closer than this are the same instant: sums of floating-point seconds may differ in the last digits."""


class RequestView(NamedTuple):
    """A request that has steps nobody has committed to yet.

    `due_s` is when its decoded image must be there. `remaining_steps` counts the steps; it is not whole if a step was
    begun that has not ended, and then the request has to go on with it where it was. `ready_s` is when its committed
    chunks are predicted to end (its arrival, if none is in flight). `encode_s` is 0 once its encoding is committed.
    Seconds throughout. `weight` says how much it is worth where somebody must be left out. Who is `alone` may not be
    in a batch.
    """

    request_id: str
    size: Size
    arrival_s: float
    due_s: float
    remaining_steps: float
    ready_s: float
    last_devices: tuple[int, ...]
    encode_s: float
    decode_s: float
    weight: float = 1.0
    alone: bool = False

    @property
    def is_within_step(self) -> bool:
        """Whether it can only go on where it was."""
        return not is_whole(self.remaining_steps)


class Pending(Protocol):
    """All requests that have steps nobody has committed to yet. To be asked while a plan is made, not kept.

    `requests` looks at every one. The others cost what they answer: who waits is kept in order, and so a policy that
    asks for the first few does not pay for the length of the queue.
    """

    @property
    def num_on_time(self) -> int:
        """How many wait, with nothing in flight, and can still be on time at full speed."""
        ...

    @property
    def num_changes(self) -> int:
        """Grows whenever somebody joins them, or leaves them."""
        ...

    def requests(self) -> tuple[RequestView, ...]:
        """All, in order of arrival."""
        ...

    def find(self, request_id: str) -> RequestView | None:
        """One of them."""
        ...

    def running(self) -> tuple[RequestView, ...]:
        """Those with chunks in flight."""
        ...

    def first(self, count: int) -> list[RequestView]:
        """Of those that wait and can be on time, those that are due first."""
        ...

    def first_late(self, count: int) -> list[RequestView]:
        """Of the others that wait, those that need least time."""
        ...


class View(NamedTuple):
    """The state of the world at `now_s`.

    `free_s[d]` is when device d is predicted to have ended all that is committed to it (never before now); infinity if
    it is lost. `open[d]` is false while a chunk is already queued behind the running one. `interrupted[d]` are
    the requests that have begun a step on it which has not ended, or will not have. `slowness` is how
    many times the profile's times work takes on the mean device now; `cautious_slowness` how many it may well take.
    """

    now_s: float
    ahead_s: float
    pending: Pending
    free_s: tuple[float, ...]
    open: tuple[bool, ...]
    cost: CostModel
    num_devices: int
    slowness: float = 1.0
    cautious_slowness: float = 1.0
    interrupted: Mapping[int, tuple[str, ...]] = MappingProxyType({})

    @property
    def requests(self) -> tuple[RequestView, ...]:
        """All pending requests in order of arrival, made anew each time."""
        return self.pending.requests()

    def may_interrupt(self, request_id: str, block: tuple[int, ...]) -> bool:
        """Whether steps of a request on a block may end within a step: there is room for few such on a device."""
        others = (set(self.interrupted.get(device, ())) - {request_id} for device in block)
        return all(len(ids) < MAX_INTERRUPTED for ids in others)

    def has(self, block: tuple[int, ...]) -> bool:
        """Whether none of these devices is lost."""
        return all(self.free_s[device] < float("inf") for device in block)

    def available(self, by_s: float | None = None) -> tuple[int, ...]:
        """Open devices that are free by `by_s`; without it, within `ahead_s` from now."""
        limit_s = (self.now_s + self.ahead_s if by_s is None else by_s) + TOLERANCE_S
        return tuple([d for d, free_s in enumerate(self.free_s) if free_s <= limit_s and self.open[d]])


class Assignment(NamedTuple):
    """`num_steps` steps of a request (or of a batch of equal size) on an aligned block of devices.

    They may end within a step, see `core.steps`: not those of a batch, and not where `MAX_INTERRUPTED` others do.
    """

    request_ids: tuple[str, ...]
    devices: tuple[int, ...]
    num_steps: float


class Plan(NamedTuple):
    """What to commit now. `wake_s` asks to be called again at that time, beyond what events cause anyway."""

    assignments: tuple[Assignment, ...] = ()
    wake_s: float | None = None


class Policy(Protocol):
    """Plans. `memory` is whatever immutable value the policy returned last, None at first.

    Called with all events of an instant taken in while somebody is pending: at every arrival and end of a chunk at
    which a device is available, `ahead_s` before one becomes so, and when the last plan wished to.
    """

    def __call__(self, view: View, memory: Any) -> tuple[Plan, Any]:
        """The plan for this instant, and the memory for the next call."""
        ...
