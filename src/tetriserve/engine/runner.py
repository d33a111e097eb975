"""Executes commands on one device: owns the states of all requests that this rank holds."""

import time
from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from tetriserve.core.outcome import CANCELLED
from tetriserve.core.partial import is_partial_due
from tetriserve.core.request import Request
from tetriserve.engine.completion import Launched, Stopwatch, finite_flags, picture_of, to_host
from tetriserve.engine.exchange import Transfer, finish_receive, start_receive, start_send
from tetriserve.engine.faults import failure_of, is_device_lost
from tetriserve.engine.messages import (
    Decode,
    Denoise,
    Encode,
    Failure,
    Finished,
    Receive,
    Release,
    Send,
)
from tetriserve.models.adapter import ModelAdapter, RequestState
from tetriserve.models.denoise import Denoiser
from tetriserve.models.flow_match import final_estimate
from tetriserve.models.ulysses import SequenceGroup

ChunkCommand = Encode | Denoise | Decode


class Runner:
    """One rank's hands. An exception out of any method means that the ranks may have lost step with each other."""

    def __init__(
        self,
        model: ModelAdapter,
        device: torch.device,
        groups: Mapping[tuple[int, ...], SequenceGroup],
        cancelled: set[str],
        *,
        tiled: bool = False,
    ) -> None:
        """`cancelled` names the requests nobody wants any more; another thread may add to it at any time.

        With `tiled` all large images are decoded in tiles, else those whose command says so.
        """
        self._tiled = tiled
        self._model = model
        self._denoiser = Denoiser(model)
        self._device = device
        self._groups = groups
        self._cancelled = cancelled
        self._states: dict[str, RequestState] = {}
        self._sending: dict[str, list[Transfer]] = {}
        self._receiving: dict[str, tuple[Receive, Transfer]] = {}

    def run(self, command: Encode | Denoise | Decode | Send | Receive | Release) -> Finished | Launched | None:
        """Execute one command. Chunks return a report; steps that a GPU has been given, what waits for theirs."""
        match command:
            case Encode():
                return self._encode(command)
            case Denoise():
                return self._denoise(command)
            case Decode():
                return self._decode(command)
            case Send():
                self._send(command)
            case Receive():
                self._receive(command)
            case Release():
                self._release(command.request_id)
        return None

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The blocks that this rank belongs to, in the order in which all ranks go through theirs."""
        return tuple(self._groups)

    def capture(self, request: Request, batch: int, block: tuple[int, ...]) -> None:
        """Make ready the step of `batch` such requests on a block; all its ranks call this together."""
        states = [self._model.blank(request) for _ in range(batch)]
        self._denoiser.capture(states, self._groups[block])
        self._denoiser.forget(request.request_id)

    # --- chunks -------------------------------------------------------------------------------------------------------

    def _encode(self, command: Encode) -> Finished:
        request, started_s = command.request, time.monotonic()
        if request.request_id in self._cancelled:
            return self._void(command.chunk_id, (request,))
        try:
            state = self._model.encode(request)
            finished_s = self._now_s()
        except Exception as error:  # noqa: BLE001  (whatever it is, it is this request's failure)
            failure = self._fail(request, error, "encoding the prompt")
            return Finished(command.chunk_id, started_s, time.monotonic(), (failure,))
        self._states[request.request_id] = state
        return Finished(command.chunk_id, started_s, finished_s, warnings=state.warnings)

    def _denoise(self, command: Denoise) -> Finished | Launched:
        group = self._groups[command.block]
        steps = f"steps {command.first_steps[0]} to {command.first_steps[0] + command.num_steps - 1}"
        ids = tuple(request.request_id for request in command.requests)
        started_s = time.monotonic()
        try:
            if self._agree_to_skip(command.requests, group):
                return self._void(command.chunk_id, command.requests)
            states = [self._settled(request) for request in command.requests]
            watch = Stopwatch(self._device)
            before = [state.latents for state in states]
            self._denoiser.run(states, command.first_steps, command.num_steps, group)
            previews = self._previews(command, before) if group.rank == 0 else ()
            return Launched(command.chunk_id, ids, finite_flags(states), steps, watch.stop(), previews)
        except Exception as error:
            if group.degree > 1:
                raise
            failures = [self._fail(request, error, steps) for request in command.requests]
        return Finished(command.chunk_id, started_s, time.monotonic(), tuple(failures))

    def _previews(self, command: Denoise, before: Sequence[Tensor]) -> tuple[tuple[str, Tensor], ...]:
        """On the host, once the device is through: what the latents are about to become, for those who want it now."""
        made = []
        for request, start, first in zip(command.requests, before, command.first_steps, strict=True):
            if is_partial_due(request, first, command.num_steps):
                state = self._states[request.request_id]
                latents = final_estimate(start, state.latents, state.sigmas, first, command.num_steps)
                made.append((request.request_id, to_host(self._model.preview(request, latents))))
        return tuple(made)

    def _decode(self, command: Decode) -> Finished:
        request, started_s = command.request, time.monotonic()
        if request.request_id in self._cancelled:
            return self._void(command.chunk_id, (request,))
        try:
            state = self._settled(request)
            started_s = self._now_s()
            picture = picture_of(self._model.decode(state, tiled=command.tiled or self._tiled))
        except Exception as error:  # noqa: BLE001  (as in _encode)
            failure = self._fail(request, error, "decoding the image")
            return Finished(command.chunk_id, started_s, time.monotonic(), (failure,))
        return Finished(command.chunk_id, started_s, time.monotonic(), picture=picture)

    # --- cancelled requests -------------------------------------------------------------------------------------------

    def _agree_to_skip(self, requests: Sequence[Request], group: SequenceGroup) -> bool:
        """Whether every rank of the group knows that nobody wants the chunk: ranks hear of it at different times.

        GPUs don't vote: their next chunk is launched behind the running one at once, so there is nothing to skip.
        """
        skip = all(request.request_id in self._cancelled for request in requests)
        if group.degree == 1:
            return skip
        if self._device.type == "cuda":
            return False
        # An all-to-all, because that is the collective whose connections are there already.
        mine = torch.full((group.degree,), float(skip))
        votes = torch.empty_like(mine)
        dist.all_to_all_single(votes, mine, group=group.process_group)
        return bool(votes.min().item())

    def _void(self, chunk_id: int, requests: Sequence[Request]) -> Finished:
        """The report of a chunk that was not run. Its requests keep tensors for the exchanges that they still owe."""
        now_s, failures = time.monotonic(), []
        for request in requests:
            failures.append(Failure(request.request_id, CANCELLED, "cancelled by the caller"))
            if request.request_id not in self._states:
                self._states[request.request_id] = self._model.blank(request)
        return Finished(chunk_id, now_s, now_s, tuple(failures))

    # --- hand-overs ---------------------------------------------------------------------------------------------------

    def _send(self, command: Send) -> None:
        state = self._settled(command.request)
        transfer = start_send(state, command.target, with_conditioning=command.with_conditioning)
        self._sending.setdefault(command.request.request_id, []).append(transfer)

    def _receive(self, command: Receive) -> None:
        request_id = command.request.request_id
        if request_id not in self._states or command.with_conditioning:
            self._states[request_id] = self._model.blank(command.request)
        transfer = start_receive(self._states[request_id], command.source, with_conditioning=command.with_conditioning)
        self._receiving[request_id] = (command, transfer)

    def _settled(self, request: Request) -> RequestState:
        """A request's state, with what is on its way here."""
        request_id = request.request_id
        state = self._states[request_id]
        if request_id in self._receiving:
            command, transfer = self._receiving.pop(request_id)
            finish_receive(transfer, state, with_conditioning=command.with_conditioning)
        return state

    def _release(self, request_id: str) -> None:
        self._cancelled.discard(request_id)
        for transfer in self._sending.pop(request_id, ()):
            transfer.wait()
        if request_id in self._receiving:
            self._receiving.pop(request_id)[1].wait()
        self._states.pop(request_id, None)
        self._denoiser.forget(request_id)

    # --- failures -----------------------------------------------------------------------------------------------------

    def _fail(self, request: Request, error: Exception, doing: str) -> Failure:
        """From now on the request has zeros for tensors: it can still take part in every exchange that it owes."""
        if is_device_lost(error):
            raise error
        failure = failure_of(request.request_id, error, doing)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        try:
            self._states[request.request_id] = self._model.blank(request)
        except Exception:  # noqa: BLE001  (no memory even for zeros: matters only if an exchange is owed)
            self._states.pop(request.request_id, None)
        return failure

    def _now_s(self) -> float:
        """The time when all that was queued on the device is done."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.monotonic()
