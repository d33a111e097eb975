"""Executes commands on one device."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tetriserve.core.outcome import CANCELLED
from tetriserve.core.partial import is_partial_due
from tetriserve.core.request import Request
from tetriserve.core.steps import ended_steps, taken_steps
from tetriserve.engine.completion import (
    Kept,
    Launched,
    LaunchedStep,
    Stopwatch,
    finite_flags,
    milestone,
    picture_of,
    to_host,
)
from tetriserve.engine.faults import failure_of, is_device_lost, is_out_of_memory, shared_fault
from tetriserve.engine.groups import Groups
from tetriserve.engine.holdings import Holdings
from tetriserve.engine.messages import (
    Decode,
    Denoise,
    Discard,
    Encode,
    Failure,
    Finished,
    Receive,
    Regroup,
    Release,
    Restore,
    Send,
)
from tetriserve.models.adapter import ModelAdapter, RequestState
from tetriserve.models.denoise import Denoiser
from tetriserve.models.flow_match import final_estimate
from tetriserve.models.ulysses import ExchangeError, SequenceGroup, exchange

ChunkCommand = Encode | Denoise | Decode
TellStep = Callable[[LaunchedStep], None]
TILED = "the image was decoded in tiles for lack of memory"


@dataclass(frozen=True, slots=True)
class Blame:
    """What becomes of a chunk that ended by an exception; see `messages.Finished`."""

    lost: str | None = None
    failures: tuple[Failure, ...] = ()
    apart: bool = False


class Runner:
    """One rank's hands. An exception out of any method means that this device is of no use any more."""

    def __init__(
        self,
        model: ModelAdapter,
        device: torch.device,
        groups: Groups,
        cancelled: set[str],
        *,
        tiled: bool = False,
    ) -> None:
        """`cancelled` names the requests nobody wants any more; another thread may add to it at any time.

        With `tiled` all large images are decoded in tiles, else those for which there is no memory.
        """
        self._tiled = tiled
        self._model = model
        self._denoiser = Denoiser(model)
        self._device = device
        self._groups = groups
        self._cancelled = cancelled
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._held = Holdings(model, groups)

    def run(
        self, command: ChunkCommand | Send | Receive | Restore | Discard | Release, tell: TellStep
    ) -> Finished | Launched | None:
        """Execute one command. Chunks return a report; steps that a GPU has been given, what waits for theirs.

        `tell` hears of every step but the last of a chunk that somebody watches, on the block's first rank.
        """
        match command:
            case Encode():
                return self._encode(command)
            case Denoise():
                return self._denoise(command, tell)
            case Decode():
                return self._decode(command)
            case Send():
                self._held.send(command)
            case Receive():
                self._held.receive(command)
            case Restore():
                self._held.restore(command, self._free_memory)
            case Release():
                self._cancelled.discard(command.request_id)
                self._held.release(command.request_id)
                self._denoiser.forget(command.request_id)
            case Discard():
                self._denoiser.discard(command.request_id)
        return None

    def rehearse(self, request: Request) -> None:
        """Encode and decode for nothing."""
        self._decoded(self._model.encode(request))

    def capture(self, request: Request, batch: int, block: tuple[int, ...]) -> None:
        """Make ready the step of `batch` such requests on a block; all its ranks call this together."""
        states = [self._model.blank(request) for _ in range(batch)]
        self._denoiser.capture(states, self._groups.blocks[block])
        self._denoiser.forget(request.request_id)

    # --- chunks -------------------------------------------------------------------------------------------------------

    def _encode(self, command: Encode) -> Finished:
        request, started_s = command.request, time.monotonic()
        self._held.learn(request)
        if request.request_id in self._cancelled:
            return self._void(command.chunk_id, (request,))
        try:
            state = self._model.encode(request)
            finished_s = self._now_s()
        except Exception as error:  # noqa: BLE001  (whatever it is, it is this request's failure)
            failure = self._fail(request, error, "encoding the prompt")
            return Finished(command.chunk_id, started_s, time.monotonic(), (failure,))
        self._held.states[request.request_id] = state
        return Finished(command.chunk_id, started_s, finished_s, warnings=state.warnings)

    def _denoise(self, command: Denoise, tell: TellStep) -> Finished | Launched:
        started_s = time.monotonic()
        try:
            group = self._groups.blocks.get(command.block)
            if group is None:
                return Finished(command.chunk_id, started_s, started_s, lost="its group was broken off")
            if self._agree_to_skip(command.request_ids, group):
                return self._void(command.chunk_id, [self._held.requests[id_] for id_ in command.request_ids])
            return self._steps(command, group, tell)
        except ExchangeError as error:
            blame = Blame(f"an exchange was broken off: {error}")
            for request_id in command.request_ids:
                self._denoiser.begin_anew(request_id)
        except Exception as error:
            if is_device_lost(error):
                raise
            blame = self._blame(command, error)
        cut, now_s = self._cut(command.block), time.monotonic()
        return Finished(command.chunk_id, started_s, now_s, blame.failures, lost=blame.lost, apart=blame.apart, cut=cut)

    def _steps(self, command: Denoise, group: SequenceGroup, tell: TellStep) -> Launched:
        states = [self._held.settled(request_id) for request_id in command.request_ids]
        watch = Stopwatch(self._device)
        before = [state.latents for state in states]
        is_first = group.rank == 0
        is_watched = is_first and any(state.request.is_watched for state in states)

        def after_step(num_steps: float) -> None:
            if is_watched and num_steps + 1 <= command.num_steps:  # the last is told by the chunk's end
                tell(LaunchedStep(command.chunk_id, num_steps, milestone(self._device)))

        self._denoiser.run(states, command.first_steps, command.num_steps, group, after_step)
        steps = tuple(ended_steps(first, command.num_steps) for first in command.first_steps)
        finite = finite_flags(states)
        previews = self._previews(states, before, steps) if is_first else ()
        return Launched(
            command.chunk_id,
            command.request_ids,
            finite,
            steps,
            watch.stop(),  # after all that is read on the host once it has stopped
            previews,
            Kept(states, self._copies) if is_first and any(steps) else None,
        )

    def _blame(self, command: Denoise, error: Exception) -> Blame:
        """Who fails: the only request of a chunk, or nobody yet of several."""
        if len(command.request_ids) > 1:
            self._free_memory()
            return Blame(shared_fault(error, len(command.request_ids)), apart=True)
        taken = taken_steps(command.first_steps[0], command.num_steps)
        doing = f"steps {taken.start} to {taken.stop - 1}"
        return Blame(failures=(self._fail(self._held.requests[command.request_ids[0]], error, doing),))

    def _previews(
        self, states: Sequence[RequestState], before: Sequence[Tensor], steps: Sequence[range]
    ) -> tuple[tuple[str, Tensor], ...]:
        """On the host, once the device is through: what the latents are about to become, for those who want it now."""
        made = []
        for state, start, taken in zip(states, before, steps, strict=True):
            if is_partial_due(state.request, taken.start, len(taken)):
                latents = final_estimate(start, state.latents, state.sigmas, taken.start, len(taken))
                made.append((state.request.request_id, to_host(self._model.preview(state.request, latents))))
        return tuple(made)

    def _decode(self, command: Decode) -> Finished:
        request, started_s = self._held.requests[command.request_id], time.monotonic()
        if request.request_id in self._cancelled:
            return self._void(command.chunk_id, (request,))
        try:
            state = self._held.settled(request.request_id)
            started_s = self._now_s()
            rgb, warnings = self._decoded(state)
            picture = picture_of(rgb)
        except ExchangeError as error:
            return Finished(command.chunk_id, started_s, time.monotonic(), lost=f"a hand-over was broken off: {error}")
        except Exception as error:  # noqa: BLE001  (as in _encode)
            failure = self._fail(request, error, "decoding the image, also in tiles")
            return Finished(command.chunk_id, started_s, time.monotonic(), (failure,))
        return Finished(command.chunk_id, started_s, time.monotonic(), picture=picture, warnings=warnings)

    def _decoded(self, state: RequestState) -> tuple[Tensor, tuple[str, ...]]:
        """The image, in tiles if there is no memory for all of it at once."""
        try:
            return self._model.decode(state, tiled=self._tiled), ()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._free_memory()
        return self._model.decode(state, tiled=True), (TILED,)

    # --- cancelled requests -------------------------------------------------------------------------------------------

    def _agree_to_skip(self, request_ids: Sequence[str], group: SequenceGroup) -> bool:
        """Whether every rank of the group knows that nobody wants the chunk: ranks hear of it at different times.

        GPUs don't vote: their next chunk is launched behind the running one at once, so there is nothing to skip.
        """
        skip = all(request_id in self._cancelled for request_id in request_ids)
        if group.degree == 1:
            return skip
        if self._device.type == "cuda":
            return False
        # An all-to-all, because that is the collective whose connections are there already.
        ones = [1] * group.degree
        votes = exchange(torch.full((group.degree,), float(skip)), ones, ones, group)
        return bool(votes.min().item())

    def _void(self, chunk_id: int, requests: Sequence[Request]) -> Finished:
        """The report of a chunk that was not run. Its requests keep tensors for the exchanges that they still owe."""
        now_s, failures = time.monotonic(), []
        for request in requests:
            failures.append(Failure(request.request_id, CANCELLED, "cancelled by the caller"))
            if request.request_id not in self._held.states:
                self._held.blank(request.request_id)
        return Finished(chunk_id, now_s, now_s, tuple(failures))

    # --- groups -------------------------------------------------------------------------------------------------------

    def regroup(self, command: Regroup) -> list[tuple[int, ...]]:
        """Make groups together with all their ranks, which are there by now. Returns this rank's new blocks."""
        self._held.end_transfers()
        self._denoiser.drop(self._groups.take_apart(command))
        return self._groups.make(command)

    def _cut(self, block: tuple[int, ...]) -> tuple[int, ...]:
        """Break off the exchanges of a block, so that no rank waits in one for this one. Returns the block, if any."""
        if len(block) == 1:
            return ()
        self._denoiser.drop(self._groups.cut(block))
        return block

    # --- failures -----------------------------------------------------------------------------------------------------

    def _fail(self, request: Request, error: Exception, doing: str) -> Failure:
        """From now on the request has zeros for tensors: it can still take part in every exchange that it owes."""
        if is_device_lost(error):
            raise error
        failure = failure_of(request.request_id, error, doing)
        self._denoiser.begin_anew(request.request_id)
        self._free_memory()
        self._held.blank(request.request_id, error)
        return failure

    def _free_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _now_s(self) -> float:
        """The time when all that was queued on the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()
