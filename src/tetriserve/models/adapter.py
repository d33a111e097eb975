"""What every model looks like to the engine. A new model is one file that implements ModelAdapter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tetriserve.core.request import Request
from tetriserve.models.card import ModelCard
from tetriserve.models.ulysses import SequenceGroup, TokenSplit


@dataclass(slots=True)
class RequestState:
    """All that a request owns between its chunks. Only `latents` changes, and is replaced, never written into.

    `latents` (1, L, C) is what moves at every hand-over; `conditioning`, which only the text encoders can compute,
    moves once. Everything else follows from the request. `timesteps` (N,) and `sigmas` (N + 1,) lie on the device.
    """

    request: Request
    latents: Tensor
    conditioning: tuple[Tensor, ...]
    timesteps: Tensor
    sigmas: Tensor
    warnings: tuple[str, ...] = ()


class Network(Protocol):
    """The network with everything that stays the same during a chunk: a batch's conditioning, sharded."""

    @property
    def latent_split(self) -> TokenSplit:
        """How the latents' tokens are spread over the group."""
        ...

    def __call__(self, latents: Sequence[Tensor], timesteps: Sequence[Tensor]) -> list[Tensor]:
        """Predict the velocity of every state: (1, l, C) and a 0-dim timestep each -> (1, l, C) each.

        Free of host synchronisation and of Python that depends on data, so that a CUDA graph can hold it.
        """
        ...


class ModelAdapter(Protocol):
    """One model on one device."""

    @property
    def card(self) -> ModelCard:
        """The model's defaults and limits."""
        ...

    def encode(self, request: Request) -> RequestState:
        """Encode the prompt and draw the first latents."""
        ...

    def blank(self, request: Request) -> RequestState:
        """A state of the same shapes and dtypes as `encode` returns, filled with zeros, to receive another's into."""
        ...

    def network(self, states: Sequence[RequestState], group: SequenceGroup) -> Network:
        """Make ready to step a batch of states of one size together on a group."""
        ...

    def decode(self, state: RequestState) -> Tensor:
        """The image: (height, width, 3) uint8 on the CPU."""
        ...
