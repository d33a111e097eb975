"""Hand-overs of request states between two ranks, both sides without waiting until the tensors are needed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tetriserve.models.adapter import RequestState


@dataclass(frozen=True, slots=True)
class Transfer:
    """A send or receive under way. Both sides keep the buffer until it is over."""

    works: list[dist.Work]
    buffer: Tensor

    def wait(self) -> None:
        """Until the buffer has been sent or filled (on a GPU: for all that is queued on the stream from now on)."""
        for work in self.works:
            work.wait()


def start_send(state: RequestState, target: int, *, with_conditioning: bool) -> Transfer:
    """Begin to give a state's tensors to rank `target`."""
    buffer = torch.cat([tensor.reshape(-1) for tensor in _tensors(state, with_conditioning)])
    return _start(dist.isend, buffer, target)


def start_receive(state: RequestState, source: int, *, with_conditioning: bool) -> Transfer:
    """Begin to receive what rank `source` sends; `state` only tells the shapes."""
    tensors = _tensors(state, with_conditioning)
    buffer = tensors[0].new_empty(sum(tensor.numel() for tensor in tensors))
    return _start(dist.irecv, buffer, source)


def finish_receive(transfer: Transfer, state: RequestState, *, with_conditioning: bool) -> None:
    """Wait, and put what came into `state`."""
    transfer.wait()
    tensors = _tensors(state, with_conditioning)
    parts = torch.split(transfer.buffer, [tensor.numel() for tensor in tensors])
    state.latents, *conditioning = (p.view(t.shape) for p, t in zip(parts, tensors, strict=True))
    if with_conditioning:
        state.conditioning = tuple(conditioning)


def _tensors(state: RequestState, with_conditioning: bool) -> list[Tensor]:
    return [state.latents, *state.conditioning] if with_conditioning else [state.latents]


def _start(operation: Callable[..., Any], buffer: Tensor, peer: int) -> Transfer:
    """As a batch of one, which runs on the world's own NCCL communicator instead of a new one for each pair."""
    return Transfer(dist.batch_isend_irecv([dist.P2POp(operation, buffer, peer)]), buffer)
