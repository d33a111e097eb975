"""A model being served: everything that a door to the system needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tetriserve.core.params import GenerationParams
from tetriserve.core.size import Size
from tetriserve.cost.deadline import default_slo_s
from tetriserve.cost.model import CostModel
from tetriserve.runtime.delivery import DeliveryTimes
from tetriserve.runtime.menu import Menu
from tetriserve.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Service:
    """A running model, what it offers, what that costs here, how it is scheduled, and how long callers are away."""

    runtime: Runtime
    menu: Menu
    cost: CostModel
    policy: str
    slo_table: Mapping[Size, float]
    delivery: DeliveryTimes = field(default_factory=DeliveryTimes)

    def with_slo(self, params: GenerationParams, factor: float = 1.0) -> GenerationParams:
        """`params` with `factor` times the default SLO where none was asked for."""
        slo_s = default_slo_s(params.size, params.num_inference_steps, self.cost, self.slo_table, factor)
        return params.with_slo(slo_s)
