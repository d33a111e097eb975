"""What a caller may ask for, checked once, whichever door it comes through."""

import math
import secrets
from dataclasses import dataclass, field, replace
from typing import Self

from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.partial import MAX_PARTIAL_IMAGES
from tetriserve.core.request import Request
from tetriserve.core.size import Size

MAX_PROMPT_CHARS = 32_000
MAX_IMAGES = 10
MAX_STEPS = 200
MAX_GUIDANCE_SCALE = 100.0
MAX_SLO_S = 3600.0
MAX_SEED = 2**63 - 1 - MAX_IMAGES
"""torch.Generator takes 64 bits; the last of `n` images has seed + n - 1."""


def random_seed() -> int:
    """A seed short enough to read aloud."""
    return secrets.randbelow(2**32)


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """`n` images of one prompt with seeds seed, seed+1, ... Raises InvalidRequestError on a value out of limits."""

    prompt: str
    size: Size
    num_inference_steps: int
    guidance_scale: float
    seed: int = field(default_factory=random_seed)
    n: int = 1
    negative_prompt: str = ""
    slo_s: float | None = None
    num_partial_images: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise InvalidRequestError("prompt is empty", "prompt")
        _check_text("prompt", self.prompt)
        _check_text("negative_prompt", self.negative_prompt)
        _check_range("n", self.n, 1, MAX_IMAGES)
        _check_range("num_inference_steps", self.num_inference_steps, 1, MAX_STEPS)
        _check_range("guidance_scale", self.guidance_scale, 0.0, MAX_GUIDANCE_SCALE)
        _check_range("seed", self.seed, 0, MAX_SEED)
        _check_range("partial_images", self.num_partial_images, 0, MAX_PARTIAL_IMAGES)
        if self.slo_s is not None and not 0 < self.slo_s <= MAX_SLO_S:
            raise InvalidRequestError(
                f"slo_ms = {self.slo_s * 1e3:g}: must be above 0 and at most {MAX_SLO_S * 1e3:g}", "slo_ms"
            )

    def with_slo(self, slo_s: float) -> Self:
        """The same, with `slo_s` where none was asked for."""
        return self if self.slo_s is not None else replace(self, slo_s=slo_s)

    def requests(self, request_id: str, arrival_s: float, delivery_s: float = 0.0) -> tuple[Request, ...]:
        """One request per image, with one deadline. The SLO must be known by now."""
        assert self.slo_s is not None
        return tuple(
            Request(
                request_id if self.n == 1 else f"{request_id}-{index}",
                self.prompt,
                self.size,
                self.num_inference_steps,
                self.guidance_scale,
                self.seed + index,
                arrival_s,
                arrival_s + self.slo_s,
                self.negative_prompt,
                self.weight,
                self.num_partial_images,
                delivery_s,
            )
            for index in range(self.n)
        )


def check_size(size: Size, max_pixels: int) -> Size:
    """`size` itself. Raises InvalidRequestError if it has more than `max_pixels`."""
    pixels = size.width * size.height
    if pixels > max_pixels:
        raise InvalidRequestError(
            f"size {size} has {pixels:,} pixels; this server makes images of up to {max_pixels:,}", "size"
        )
    return size


def _check_range(name: str, value: float, low: float, high: float, unit: str = "") -> None:
    if not low <= value <= high or not math.isfinite(value):
        raise InvalidRequestError(f"{name} = {value:g} {unit}".rstrip() + f": must be from {low:g} to {high:g}", name)


def _check_text(name: str, text: str) -> None:
    _check_range(name, len(text), 0, MAX_PROMPT_CHARS, "characters")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{name} is not valid Unicode: {error.reason} at character {error.start}", name
        ) from None
