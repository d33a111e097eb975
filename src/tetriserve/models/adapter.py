"""What every model looks like to the engine. A new model is one file that implements ModelAdapter."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.attention import HeadsShape
from tetriserve.models.card import ModelCard
from tetriserve.models.program import Prepared, Shape, StepProgram
from tetriserve.models.ulysses import SequenceGroup


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


class ModelAdapter(Protocol):
    """One model on one device."""

    @property
    def card(self) -> ModelCard:
        """The model's defaults and limits."""
        ...

    @property
    def heads(self) -> HeadsShape:
        """The attention heads of the network."""
        ...

    def encode(self, request: Request) -> RequestState:
        """Encode the prompt and draw the first latents."""
        ...

    def blank(self, request: Request) -> RequestState:
        """A state of the same shapes and dtypes as `encode` returns, filled with zeros, to receive another's into."""
        ...

    def shape(self, state: RequestState, batch: int) -> Shape:
        """The shape of a step of `batch` such requests."""
        ...

    def prepare(self, state: RequestState) -> Prepared:
        """What all steps of a request need, computed once on each device that runs one of them."""
        ...

    def program(self, size: Size, shape: Shape, group: SequenceGroup) -> StepProgram:
        """Make ready to step batches of a shape on a group."""
        ...

    def decode(self, state: RequestState, *, tiled: bool = False) -> Tensor:
        """The image: (height, width, 3) uint8 on the CPU. With `tiled` a large one is made of overlapping tiles."""
        ...

    def preview(self, request: Request, latents: Tensor) -> Tensor:
        """A rough picture of latents (1, L, C) as they are, in no time: (h, w, 3) uint8 on its device, of any scale."""
        ...
