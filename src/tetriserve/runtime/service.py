"""A model being served: what a caller needs to know about it, and one call that makes images."""

from collections.abc import Mapping
from dataclasses import dataclass

from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.params import GenerationParams, check_size, random_seed
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S, default_slo_s
from tetriserve.cost.model import CostModel
from tetriserve.models.card import ModelCard
from tetriserve.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Service:
    """Everything a door to the system needs. `sizes` are the configured ones; the largest is also the limit."""

    runtime: Runtime
    card: ModelCard
    cost: CostModel
    policy: str
    sizes: tuple[Size, ...]
    slo_table: Mapping[Size, float] = PAPER_SLO_S

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
        chosen = self.default_size if size == "auto" else check_size(Size.parse(size), self.max_pixels)
        steps = card.default_num_inference_steps if num_inference_steps is None else num_inference_steps
        return GenerationParams(
            prompt,
            chosen,
            steps,
            card.default_guidance_scale if guidance_scale is None else guidance_scale,
            random_seed() if seed is None else seed,
            n,
            negative_prompt,
            slo_s,
        )

    def default_slo_s(self, params: GenerationParams) -> float:
        """The time allowed to a request that asks for none."""
        return default_slo_s(params.size, params.num_inference_steps, self.cost, self.slo_table)

    def check_model(self, name: str | None) -> None:
        """Raises InvalidRequestError unless `name` is the served model or None."""
        if name is not None and name != self.card.name:
            raise InvalidRequestError(
                f"model {name[:60]!r} is not served here; there is {self.card.name!r}", "model", "model_not_found"
            )
