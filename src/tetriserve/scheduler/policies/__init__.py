"""All policies by name. A policy is a pure function of (view, memory); a factory binds its settings.

Policies demote, they never drop: every request that arrived is run to its end.
"""

from collections.abc import Callable, Mapping

from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import ddit, edf, fifo, genserve, srtf
from tetriserve.scheduler.policies.default.policy import default
from tetriserve.scheduler.policies.tetriserve import rounds
from tetriserve.scheduler.view import Policy

PolicyFactory = Callable[[CostModel, int, SchedulerConfig], Policy]
"""(cost, num_devices, config) -> policy. Raises ConfigurationError if the policy does not fit the machine."""

POLICIES: Mapping[str, PolicyFactory] = {
    "fixed-sp1": lambda cost, num_devices, config: fifo.fixed(1, cost, num_devices),
    "fixed-sp2": lambda cost, num_devices, config: fifo.fixed(2, cost, num_devices),
    "fixed-sp4": lambda cost, num_devices, config: fifo.fixed(4, cost, num_devices),
    "fixed-sp8": lambda cost, num_devices, config: fifo.fixed(8, cost, num_devices),
    "rssp": lambda cost, num_devices, config: fifo.rssp(cost, num_devices),
    "edf": lambda cost, num_devices, config: edf.edf(cost, num_devices),
    "srtf": lambda cost, num_devices, config: srtf.srtf(cost, num_devices),
    "ddit": lambda cost, num_devices, config: ddit.ddit(cost, num_devices),
    "genserve": lambda cost, num_devices, config: genserve.genserve(cost, num_devices),
    "tetriserve": lambda cost, num_devices, config: rounds.tetriserve(cost, num_devices, config.tetriserve),
    "default": lambda cost, num_devices, config: default(cost, num_devices, config.default),
}


def make_policy(name: str, cost: CostModel, num_devices: int, config: SchedulerConfig | None = None) -> Policy:
    """The policy of that name for this machine. Raises ConfigurationError."""
    if name not in POLICIES:
        raise ConfigurationError(f"policy {name!r} is not known; there are {', '.join(POLICIES)}")
    return POLICIES[name](cost, num_devices, config or SchedulerConfig())
