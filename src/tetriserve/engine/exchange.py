"""Hand-overs of request states between two ranks, both sides without waiting until the tensors are needed."""

from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from tetriserve.engine.groups import Groups
from tetriserve.models.adapter import RequestState
from tetriserve.models.ulysses import ExchangeError


@dataclass(frozen=True, slots=True)
class Transfer:
    """A send or receive under way. Both sides keep the buffer until it is over."""

    work: dist.Work
    buffer: Tensor

    def wait(self, limit_s: float | None = None) -> None:
        """Until the buffer has been sent or filled (on a GPU: for all that is queued on the stream from now on).

        Raises ExchangeError if the other side is gone, or doesn't come for `limit_s`.
        """
        try:
            if limit_s is None:
                self.work.wait()
            else:
                self.work.wait(timedelta(seconds=limit_s))
        except RuntimeError as error:
            raise ExchangeError(str(error)) from None


def start_send(groups: Groups, state: RequestState, target: int, *, with_conditioning: bool) -> Transfer:
    """Begin to give a state's tensors to rank `target`. Raises ExchangeError."""
    buffer = torch.cat([tensor.reshape(-1) for tensor in _tensors(state, with_conditioning)])
    return Transfer(groups.send(buffer, target), buffer)


def start_receive(groups: Groups, state: RequestState, source: int, *, with_conditioning: bool) -> Transfer:
    """Begin to receive what rank `source` sends; `state` only tells the shapes. Raises ExchangeError."""
    tensors = _tensors(state, with_conditioning)
    buffer = tensors[0].new_empty(sum(tensor.numel() for tensor in tensors))
    return Transfer(groups.receive(buffer, source), buffer)


def finish_receive(
    transfer: Transfer, state: RequestState, *, with_conditioning: bool, limit_s: float | None = None
) -> None:
    """Wait, once and for all, and put what came into `state`. Raises ExchangeError."""
    transfer.wait(limit_s)
    tensors = _tensors(state, with_conditioning)
    parts = torch.split(transfer.buffer, [tensor.numel() for tensor in tensors])
    state.latents, *conditioning = (p.view(t.shape) for p, t in zip(parts, tensors, strict=True))
    if with_conditioning:
        state.conditioning = tuple(conditioning)


def _tensors(state: RequestState, with_conditioning: bool) -> list[Tensor]:
    return [state.latents, *state.conditioning] if with_conditioning else [state.latents]
