"""The tensors of all requests that a rank holds, and how they come and go between ranks and from the parent."""

from collections.abc import Callable
from contextlib import suppress

from tetriserve.core.request import Request
from tetriserve.engine.completion import restored
from tetriserve.engine.exchange import Transfer, finish_receive, start_receive, start_send
from tetriserve.engine.groups import Groups
from tetriserve.engine.messages import Receive, Restore, Send
from tetriserve.models.adapter import ModelAdapter, RequestState
from tetriserve.models.ulysses import ExchangeError

TRANSFER_PATIENCE_S = 1.0
"""Both sides have begun by then; who doesn't come for so long never will."""


class Holdings:
    """States by request. What is owed to another rank is sent, as zeros if need be: it waits for it.

    `states` are those that are whole; ask `settled` for one that is needed. `requests` are all that this rank knows.
    """

    def __init__(self, model: ModelAdapter, groups: Groups) -> None:
        self._model = model
        self._groups = groups
        self._broken: dict[str, Exception] = {}
        self._sending: dict[str, list[Transfer]] = {}
        self._receiving: dict[str, tuple[Receive, Transfer]] = {}
        self.requests: dict[str, Request] = {}
        self.states: dict[str, RequestState] = {}

    def learn(self, request: Request) -> None:
        """A request begins here. What was on its way, or wrong with it, does not matter any more."""
        self.requests[request.request_id] = request
        self._receiving.pop(request.request_id, None)
        self._broken.pop(request.request_id, None)

    def settled(self, request_id: str) -> RequestState:
        """A request's state, with what is on its way here. Raises ExchangeError if that doesn't come."""
        if request_id in self._broken:
            raise self._broken[request_id]
        if request_id in self._receiving:
            self._settle(request_id)
        if request_id not in self.states:
            raise ExchangeError(f"{request_id} is not here")
        return self.states[request_id]

    def blank(self, request_id: str, because: Exception | None = None) -> None:
        """Hold zeros for a request, which has failed. If there is no memory even for these, asking for it fails too."""
        try:
            self.states[request_id] = self._model.blank(self.requests[request_id])
        except Exception as error:  # noqa: BLE001  (its next chunk tells)
            self.states.pop(request_id, None)
            self._broken[request_id] = because or error

    def restore(self, command: Restore, free_memory: Callable[[], None]) -> None:
        """Begin where the parent says. If that fails, the request's next chunk does."""
        request_id = command.request.request_id
        self.learn(command.request)
        try:
            is_enough = not command.anew and command.latents is not None
            known = self.states.get(request_id) if is_enough else None
            state = known or self._model.encode(command.request)
            if command.latents is not None:
                state.latents = restored(command.latents, state.latents)
            self.states[request_id] = state
        except Exception as error:  # noqa: BLE001  (its next chunk tells)
            free_memory()
            self.states.pop(request_id, None)
            self._broken[request_id] = error

    def send(self, command: Send) -> None:
        """Begin to give a request to another rank, if that is still there."""
        try:
            state = self.settled(command.request_id)
        except Exception:  # noqa: BLE001  (the other rank's chunk is lost or failed; but it waits)
            state = self._model.blank(self.requests[command.request_id])
        with suppress(ExchangeError):
            transfer = start_send(self._groups, state, command.target, with_conditioning=command.with_conditioning)
            self._sending.setdefault(command.request_id, []).append(transfer)

    def receive(self, command: Receive) -> None:
        """Begin to take a request from another rank."""
        request_id, full = command.request.request_id, command.with_conditioning
        self.learn(command.request)
        if request_id not in self.states or full:
            self.states[request_id] = self._model.blank(command.request)
        try:
            transfer = start_receive(self._groups, self.states[request_id], command.source, with_conditioning=full)
            self._receiving[request_id] = (command, transfer)
        except ExchangeError:
            del self.states[request_id]

    def release(self, request_id: str) -> None:
        """A request has ended."""
        self._end_sending(request_id)
        if request_id in self._receiving:
            with suppress(ExchangeError):
                self._settle(request_id, TRANSFER_PATIENCE_S)
        for known in (self.states, self.requests, self._broken):
            known.pop(request_id, None)

    def end_transfers(self) -> None:
        """What is on its way comes now or never: the group that it goes by may not live on."""
        for request_id in tuple(self._receiving):
            with suppress(ExchangeError):
                self._settle(request_id, TRANSFER_PATIENCE_S)
        for request_id in tuple(self._sending):
            self._end_sending(request_id)

    def _settle(self, request_id: str, limit_s: float | None = None) -> None:
        command, transfer = self._receiving.pop(request_id)
        try:
            finish_receive(
                transfer, self.states[request_id], with_conditioning=command.with_conditioning, limit_s=limit_s
            )
        except ExchangeError:
            del self.states[request_id]
            raise

    def _end_sending(self, request_id: str) -> None:
        for transfer in self._sending.pop(request_id, ()):
            with suppress(ExchangeError):
                transfer.wait(TRANSFER_PATIENCE_S)
