"""A cell as a task: its requests on the server, and in the simulator."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any

from tetriserve.bench.client import warm_up
from tetriserve.bench.target import Target
from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.measure import BODY, delivery_s, measure, measure_peer
from tetriserve.evaluation.program import Running
from tetriserve.evaluation.servers import Wanted
from tetriserve.evaluation.simulated import simulate_cell
from tetriserve.evaluation.study import Cell, Study, cells_of
from tetriserve.evaluation.task import Group, Site
from tetriserve.evaluation.workload import capacity_per_min, make_trace, rate_per_min
from tetriserve.workload.mixes import parse_mix
from tetriserve.workload.trace import TraceEntry

AFTER_S = 3.0
"""What a cell takes beside its schedule: files, answers, looks at the board."""
PEER_FACTOR = 2.5
"""How much longer than here an image may take at a peer, for the forecast of a cell's duration only."""


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Implements Task."""

    cell: Cell

    @property
    def id(self) -> str:
        """Names its file."""
        return self.cell.id

    def seconds(self, site: Site, cost: CostModel) -> float:
        """As simulated; of a peer, whose times nobody has measured, a cautious guess."""
        trace = make_trace(site.study, self.cell, cost, site.num_devices)
        if self.cell.is_peer:
            work_s = sum(cost.solo_s(entry.size, entry.num_inference_steps, 1) for entry in trace) / site.num_devices
            return max(trace[-1].arrival_s + AFTER_S, PEER_FACTOR * work_s)
        return AFTER_S + float(self._simulate(site, cost, trace)["end_s"])

    async def warm_up(self, site: Site, cost: CostModel, target: Target) -> None:
        """One image of every size."""
        trace = make_trace(site.study, self.cell, cost, site.num_devices)
        # A workload may by chance lack a size that the next one has.
        one_each = [_resized(trace[0], size.width, size.height) for size in site.study.sizes]
        await warm_up(_with_body(target), one_each, 1, lambda reply: None)

    async def run(self, site: Site, cost: CostModel, target: Target, server: Running) -> dict[str, Any]:
        """The load, and the same simulated."""
        trace = make_trace(site.study, self.cell, cost, site.num_devices)
        how = measure_peer if self.cell.is_peer else measure
        measured = await how(_with_body(target), trace, self.cell.contender, site.num_devices)
        return {
            "cell": asdict(self.cell),
            "load": _about_load(site.study, self.cell, cost, site.num_devices),
            "slo_s": {str(size): slo_s for size, slo_s in sorted({(e.size, round(e.slo_s, 4)) for e in trace})},
            "server": {"start_s": round(server.start_s, 1)},
            **measured,
            "simulated": None if self.cell.is_peer else self._simulate(site, cost, trace, delivery_s(measured)),
        }

    def _simulate(
        self,
        site: Site,
        cost: CostModel,
        trace: Sequence[TraceEntry],
        delivery: Mapping[Size, float] = MappingProxyType({}),
    ) -> dict[str, Any]:
        return simulate_cell(cost, trace, self.cell.contender, site.num_devices, site.study.sizes, delivery)


def load_groups(study: Study) -> list[Group]:
    """One server for every model and contender."""
    cells = groupby(cells_of(study), key=lambda cell: (cell.model, cell.contender))
    return [Group(Wanted(*key), study, [LoadTask(cell) for cell in same]) for key, same in cells]


def _about_load(study: Study, cell: Cell, cost: CostModel, num_devices: int) -> dict[str, Any]:
    mix = parse_mix(cell.mix, study.sizes)
    about = mix, study.num_steps, cost, num_devices
    return {
        "rate_per_min": rate_per_min(cell.load, *about),
        "capacity_per_min": capacity_per_min(*about),
        "num_requests": study.num_requests,
        "num_steps": study.num_steps,
        "seed": study.seed,
        "num_devices": num_devices,
    }


def _resized(entry: TraceEntry, width: int, height: int) -> TraceEntry:
    return TraceEntry(
        f"warm-{width}x{height}", 0.0, width, height, entry.num_inference_steps, entry.slo_s, entry.prompt
    )


def _with_body(target: Target) -> Target:
    return Target(target.base_url, model=target.model, extra=BODY, timeout_s=target.timeout_s)
