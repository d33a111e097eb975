"""The cells of one model of a study, by contender, mix, load and scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.chunk_facts import ChunkFacts, chunk_facts
from tetriserve.evaluation.judge import Clock, outcomes
from tetriserve.evaluation.results import DONE, Results
from tetriserve.evaluation.study import Cell, Study, cells_of
from tetriserve.metrics.attainment import Report, report

Column = tuple[str, str]
"""Mix and load."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What was measured of a model. `documents` are the done cells by id."""

    study: Study
    model: str
    cells: Sequence[Cell]
    documents: dict[str, dict[str, Any]]
    cost: CostModel | None

    @property
    def contenders(self) -> list[str]:
        """In the study's order."""
        return list(dict.fromkeys(cell.contender for cell in self.cells))

    @property
    def columns(self) -> list[Column]:
        """In the study's order."""
        return list(dict.fromkeys((cell.mix, cell.load) for cell in self.cells))

    @property
    def policies(self) -> list[str]:
        """Contenders that have simulations."""
        return list(dict.fromkeys(cell.contender for cell in self.cells if not cell.is_peer))

    @property
    def num_devices(self) -> int:
        """Of those that were measured."""
        return max(int(document["load"]["num_devices"]) for document in self.documents.values())

    def document(self, contender: str, column: Column, scale: float) -> dict[str, Any] | None:
        """The cell that tells of this scale, if it is done."""
        for cell in self.cells:
            if (cell.contender, cell.mix, cell.load) == (contender, *column) and cell.scale in (None, scale):
                return self.documents.get(cell.id)
        return None

    def report(self, contender: str, column: Column, scale: float, clock: Clock = "client") -> Report | None:
        """Numbers of a cell at a scale; None if it is not done, or there is no such clock."""
        document = self.document(contender, column, scale)
        if document is None or (clock == "simulated" and document["simulated"] is None):
            return None
        return report(outcomes(document, self.study, scale, clock))

    def requests(self, column: Column, scale: float) -> list[Request]:
        """What all contenders were asked for, with times that deliveries are expected to take; none if none is done."""
        documents = (self.document(name, column, scale) for name in self.policies)
        found = next((one for one in documents if one is not None and one["simulated"] is not None), None)
        return [] if found is None else [one.request for one in outcomes(found, self.study, scale, "simulated")]

    def facts(self, contender: str, column: Column) -> ChunkFacts | None:
        """Of the cell at the first scale."""
        document = self.document(contender, column, self.study.scales[0])
        return None if document is None or self.cost is None else chunk_facts(document, self.cost)


def grids(study: Study, results: Results) -> list[Grid]:
    """One for each model."""
    cells = cells_of(study)
    found = {cell.id: document for cell in cells if (document := results.read(cell.id)) and document["status"] == DONE}
    return [
        Grid(
            study,
            model,
            own,
            {cell.id: found[cell.id] for cell in own if cell.id in found},
            _cost(results, model, found),
        )
        for model in dict.fromkeys(cell.model for cell in cells)
        if (own := [cell for cell in cells if cell.model == model])
    ]


def _cost(results: Results, model: str, found: dict[str, dict[str, Any]]) -> CostModel | None:
    profile = results.profile(model)
    num_devices = max((document["load"]["num_devices"] for document in found.values()), default=1)
    return None if profile is None else CostModel(profile, num_devices)
