"""Can this be met? A forecast over everything accepted, played forward with and without the newcomers. Pure.

Steps are taken as divisible and moves as free, requests are served by earliest deadline: what `default` comes close
to. Encoding and decoding keep a device busy: both after the steps, where their order matters to nobody else.
Under another policy the answer is what would be possible, not what that policy will do.

A newcomer may not delay who is late, either. Policies serve the late last; so if it might, one who is late by a
moment would be overtaken by all who come, and each of them could be the next.
"""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from operator import neg

from tetriserve.core.chunk import Stage
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.view import TOLERANCE_S, RequestView, View

RESERVE = 0.15
"""By so much work is taken to be slower on a busy machine: for chunks that don't divide, blocks that are not free."""


@dataclass(frozen=True, slots=True)
class Foresight:
    """When the last of the newcomers is predicted to be there; how many accepted ones they make late, or later."""

    finished_s: float
    on_time: bool
    num_harmed: int

    @property
    def can_be_met(self) -> bool:
        """Whether they are on time, and everybody else as much as without them."""
        return self.on_time and self.num_harmed == 0


@dataclass(slots=True)
class _Run:
    """A request on its way: `left` steps at `degree`, 0 while it waits. `ladder` is (degree, seconds a step)."""

    request_id: str
    ladder: tuple[tuple[int, float], ...]
    left: float
    begin_s: float
    due_s: float
    decode_s: float
    encode_s: float
    degree: int = 0
    step_s: float = 0.0

    def take(self, rung: int) -> None:
        """Run on that rung of the ladder."""
        self.degree, self.step_s = self.ladder[rung]


def foresee(view: View, newcomers: Sequence[Request], coming: Sequence[Request] = ()) -> Foresight:
    """What becomes of the newcomers, and of others because of them; `coming` are accepted, and not in view yet."""
    accepted: list[RequestView | Request] = [*view.requests, *coming]
    slower = _slower(view, accepted)
    before_s = _play([_run(one, view, slower) for one in accepted], view)
    after_s = _play([_run(one, view, slower) for one in (*accepted, *newcomers)], view)
    on_time = all(after_s[one.request_id] <= one.due_s + TOLERANCE_S for one in newcomers)
    limits_s = {one.request_id: max(one.due_s, before_s[one.request_id]) for one in accepted if _counts(one, view)}
    num_harmed = sum(after_s[id_] > limit_s + TOLERANCE_S for id_, limit_s in limits_s.items())
    return Foresight(max(after_s[one.request_id] for one in newcomers), on_time, num_harmed)


def forecast(view: View) -> dict[str, float]:
    """When the image of everybody pending is there."""
    slower = _slower(view, view.requests)
    return _play([_run(one, view, slower) for one in view.requests], view)


def _counts(one: RequestView | Request, view: View) -> bool:
    """Whether newcomers are refused for its sake: not if it should have been there twice by now.

    Otherwise a pile of late jobs, as after a restart, would keep everybody out until it is worked off.
    """
    return view.now_s <= one.due_s + (one.due_s - one.arrival_s)


def _slower(view: View, accepted: Sequence[RequestView | Request]) -> float:
    """What the profile's times are multiplied by: what devices may well need, and the reserve, unless all are idle."""
    idle = not accepted and max(view.free_s) <= view.now_s + TOLERANCE_S
    return view.cautious_slowness * (1.0 if idle else 1.0 + RESERVE)


def _run(one: RequestView | Request, view: View, slower: float) -> _Run:
    return _of_request(one, view, slower) if isinstance(one, Request) else _of_view(one, view, slower)


def _of_view(one: RequestView, view: View, slower: float) -> _Run:
    encode_s, decode_s = slower * one.encode_s, slower * one.decode_s
    begin_s = max(one.ready_s, view.now_s) + encode_s
    ladder = _ladder(one.size, view, slower)
    due_s = one.due_s - decode_s
    return _Run(one.request_id, ladder, one.remaining_steps, begin_s, due_s, decode_s, encode_s)


def _of_request(one: Request, view: View, slower: float) -> _Run:
    cost: CostModel = view.cost
    encode_s = slower * cost.stage_s(Stage.ENCODE, one.size)
    begin_s = max(one.arrival_s, view.now_s) + encode_s
    decode_s = slower * cost.stage_s(Stage.DECODE, one.size)
    due_s = one.due_s - decode_s
    ladder = _ladder(one.size, view, slower)
    return _Run(one.request_id, ladder, one.num_inference_steps, begin_s, due_s, decode_s, encode_s)


def _ladder(size: Size, view: View, slower: float) -> tuple[tuple[int, float], ...]:
    return tuple((d, slower * view.cost.step_s(size, d)) for d in view.cost.degrees if d <= view.num_devices)


def _play(runs: Iterable[_Run], view: View) -> dict[str, float]:
    """When each image is there: from one end, begin or free device to the next, all devices divided anew."""
    live = sorted(runs, key=lambda run: (run.due_s, run.request_id))
    coming = sorted((free_s for free_s in view.free_s if view.now_s + TOLERANCE_S < free_s < inf), reverse=True)
    free = sum(free_s <= view.now_s + TOLERANCE_S for free_s in view.free_s)
    if not free and not coming:  # all are lost
        return {run.request_id: inf for run in live}
    now_s, ends_s = view.now_s, dict[str, float]()
    while live:
        running = _divide(live, free, now_s)
        next_s = min((now_s + run.left * run.step_s for run in running), default=float("inf"))
        if coming:
            next_s = min(next_s, coming[-1])
        next_s = min([next_s, *(run.begin_s for run in live if now_s + TOLERANCE_S < run.begin_s < next_s)])
        for run in running:
            run.left -= (next_s - now_s) / run.step_s
            if run.left <= TOLERANCE_S:
                ends_s[run.request_id] = next_s + run.decode_s
                insort(coming, next_s + run.decode_s + run.encode_s, key=neg)
                free -= 1
        now_s = next_s
        live = [run for run in live if run.left > TOLERANCE_S]
        while coming and coming[-1] <= now_s + TOLERANCE_S:
            coming.pop()
            free += 1
    return ends_s


def _divide(live: Sequence[_Run], free: int, now_s: float) -> list[_Run]:
    """Those on time get the least degree that keeps them so, then the late one device, then idle devices double."""
    running: list[_Run] = []
    late: list[_Run] = []
    for run in live:
        if not free:
            break
        if run.begin_s > now_s + TOLERANCE_S:
            continue
        rung = _rung_in_time(run, free, run.due_s - now_s + TOLERANCE_S)
        if rung is None:
            late.append(run)
            continue
        run.take(rung)
        running.append(run)
        free -= run.degree
    for run in late[:free]:
        run.take(0)
        running.append(run)
        free -= run.degree
    return _widen(running, free)


def _rung_in_time(run: _Run, free: int, budget_s: float) -> int | None:
    """The least degree that ends within the budget; the largest there is room for if only a larger one would."""
    best = None
    for rung, (degree, step_s) in enumerate(run.ladder):
        if degree <= free:
            best = rung
        if run.left * step_s <= budget_s:
            return best if degree > free else rung
    return None


def _widen(running: list[_Run], free: int) -> list[_Run]:
    """Idle devices double the degree that saves most seconds, while they can."""
    while free:
        best_s, best = TOLERANCE_S, None
        for run in running:
            faster_s = dict(run.ladder).get(run.degree * 2, run.step_s)
            saved_s = run.left * (run.step_s - faster_s)
            if run.degree <= free and saved_s > best_s:
                best_s, best = saved_s, run
        if best is None:
            break
        free -= best.degree
        best.degree *= 2
        best.step_s = dict(best.ladder)[best.degree]
    return running
