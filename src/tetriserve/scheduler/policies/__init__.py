"""All policies by name. A policy is a pure function of (view, memory); a factory binds its settings.

Policies demote, they never drop: every request that arrived is run to its end.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.model import CostModel
from tetriserve.scheduler.config import SchedulerConfig
from tetriserve.scheduler.policies import ddit, edf, fifo, genserve, srtf
from tetriserve.scheduler.policies.default import policy
from tetriserve.scheduler.policies.tetriserve import rounds
from tetriserve.scheduler.view import Plan, Policy, View

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
    "default": lambda cost, num_devices, config: policy.default(cost, num_devices, config.default),
}


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy that says its name when it is blamed."""

    name: str
    plan: Policy

    def __call__(self, view: View, memory: Any) -> tuple[Plan, Any]:
        """Plan."""
        return self.plan(view, memory)


def make_policy(name: str, cost: CostModel, num_devices: int, config: SchedulerConfig | None = None) -> Policy:
    """The policy of that name for this machine; `package.module:factory` names one of the user's own.

    Raises ConfigurationError.
    """
    made = find_policy(name)(cost, num_devices, config or SchedulerConfig())
    if not callable(made):
        raise ConfigurationError(f"policy {name!r} made {made!r}, which can't be called with (view, memory)")
    return NamedPolicy(name, made)


def may_interrupt(name: str, config: SchedulerConfig) -> bool:
    """Whether a policy may end chunks within a step, as one of the user's own may: such steps take memory.

    Asked before times are measured, so not whether `default` will: that depends on how long steps take.
    """
    return ":" in name or (name == "default" and config.default.part_s > 0)


def find_policy(name: str) -> PolicyFactory:
    """What makes the policy of that name. Raises ConfigurationError."""
    factory = POLICIES.get(name) or (_imported(name) if ":" in name else None)
    if factory is None:
        raise ConfigurationError(
            f"policy {name!r} is not known; there are {', '.join(POLICIES)}, or your own as package.module:factory"
        )
    return factory


def _imported(name: str) -> PolicyFactory:
    """The factory that an import path names. Its faults are the operator's."""
    module, _, attribute = name.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"policy {name!r} can't be imported: {error} (is its folder on PYTHONPATH?)"
        ) from error
    if not callable(factory):
        raise ConfigurationError(f"policy {name!r} is {factory!r}, not a function of (cost, num_devices, config)")
    return cast(PolicyFactory, factory)
