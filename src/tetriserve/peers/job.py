"""What goes between the server of a peer and its workers. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

Variant = Literal["plain", "batch", "attention"]
VARIANTS: tuple[Variant, ...] = ("plain", "batch", "attention")
"""plain: as a user calls it. batch: with three others, which are thrown away. attention: softmax spelled out."""


@dataclass(frozen=True, slots=True)
class Job:
    """One image that is wanted."""

    prompt: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    variant: Variant = "plain"


@dataclass(frozen=True, slots=True)
class Made:
    """One image: height x width x 3 bytes, and the seconds that its devices were held."""

    rgb: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Why there is none."""

    message: str


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """A group of devices that makes one image at a time. `store`: a file that does not exist yet, for them to meet."""

    engine: str
    model_dir: str
    devices: tuple[str, ...]
    dtype: str
    threads: int
    store: str

    @property
    def degree(self) -> int:
        """How many devices work on one image."""
        return len(self.devices)


ENGINES = ("diffusers", "diffusers-compiled", "xdit", "xdit-compiled")
ALONE = ("diffusers", "diffusers-compiled")
"""Engines that know one device only."""
