"""What one server is started for: some measurements, each with a file of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tetriserve.bench.target import Target
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile
from tetriserve.evaluation.budget import Budget
from tetriserve.evaluation.program import Running
from tetriserve.evaluation.results import Results
from tetriserve.evaluation.servers import Wanted
from tetriserve.evaluation.study import Study


@dataclass(frozen=True, slots=True)
class Site:
    """Where and for how long a study is run."""

    study: Study
    results: Results
    num_devices: int
    budget: Budget

    def cost(self, profile: Profile) -> CostModel:
        """The cost model of this machine."""
        return CostModel(profile, self.num_devices)


class Task(Protocol):
    """One measurement."""

    @property
    def id(self) -> str:
        """Names its file."""
        ...

    def seconds(self, site: Site, cost: CostModel) -> float:
        """How long it is expected to take."""
        ...

    async def warm_up(self, site: Site, cost: CostModel, target: Target) -> None:
        """Once for a server. Raises EngineError."""
        ...

    async def run(self, site: Site, cost: CostModel, target: Target, server: Running) -> dict[str, Any]:
        """Measure. Raises EngineError, or whatever breaks."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks of one server."""

    wanted: Wanted
    study: Study
    tasks: Sequence[Task]
