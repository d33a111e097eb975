"""What a model offers to callers: its sizes, limits and defaults."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.params import MAX_STEPS, GenerationParams, check_size, random_seed
from tetriserve.core.size import Size
from tetriserve.models.card import ModelCard

STEPS_BY_QUALITY: Mapping[str, float] = {
    "low": 0.5,
    "standard": 1.0,
    "medium": 1.0,
    "auto": 1.0,
    "high": 2.0,
    "hd": 2.0,
}
"""OpenAI's names of qualities, as multiples of the model's own number of steps."""


@dataclass(frozen=True, slots=True)
class Menu:
    """`sizes` are the configured ones, smallest first; the largest is also the limit."""

    card: ModelCard
    sizes: tuple[Size, ...]

    @property
    def max_pixels(self) -> int:
        """The largest image, by area."""
        return max(size.width * size.height for size in self.sizes)

    @property
    def default_size(self) -> Size:
        """The size of a request that names none: the middle one of the configured sizes."""
        return self.sizes[len(self.sizes) // 2]

    def params(
        self,
        prompt: str,
        *,
        size: str = "auto",
        n: int = 1,
        seed: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str = "",
        slo_s: float | None = None,
    ) -> GenerationParams:
        """Fill in the model's defaults and check everything. Raises InvalidRequestError."""
        card = self.card
        return GenerationParams(
            prompt,
            self.default_size if size == "auto" else card.check_side(check_size(Size.parse(size), self.max_pixels)),
            card.default_num_inference_steps if num_inference_steps is None else num_inference_steps,
            card.default_guidance_scale if guidance_scale is None else guidance_scale,
            random_seed() if seed is None else seed,
            n,
            negative_prompt,
            slo_s,
        )

    def num_steps(self, quality: str) -> int:
        """Denoising steps of a quality, at least one. Raises InvalidRequestError if there is no such quality."""
        if quality not in STEPS_BY_QUALITY:
            raise InvalidRequestError(
                f"quality {quality[:40]!r}: must be one of {', '.join(STEPS_BY_QUALITY)}", "quality"
            )
        steps = math.ceil(self.card.default_num_inference_steps * STEPS_BY_QUALITY[quality])
        return min(steps, MAX_STEPS)

    def check_model(self, name: str | None) -> None:
        """Raises InvalidRequestError unless `name` is the served model or None."""
        if name is not None and name != self.card.name:
            raise InvalidRequestError(
                f"model {name[:60]!r} is not served here; there is {self.card.name!r}", "model", "model_not_found"
            )
