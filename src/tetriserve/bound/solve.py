"""Bounds on SLO attainment, solved with HiGHS. scipy is imported here alone, when a bound is asked for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tetriserve.bound.programme import Programme, make_programme
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.cost.model import CostModel

ROUNDING = 1e-6
"""What the solver's tolerances may take away from a number of requests; added, so that a bound stays one."""


@dataclass(frozen=True, slots=True)
class Bound:
    """No policy reaches a higher SLO attainment ratio than `sar`.

    `complete`: solved to the end. A solver stopped by its time limit has still proved its `sar`.
    """

    sar: float
    complete: bool


def fractional_bound(cost: CostModel, requests: Sequence[Request], num_devices: int) -> Bound:
    """The linear programme: requests may be served in part."""
    if not requests:
        return Bound(1.0, complete=True)
    most, complete = _solve(make_programme(cost, requests, num_devices), whole=False, limit_s=math.inf)
    return Bound(min(1.0, (most + ROUNDING) / len(requests)), complete)


def hindsight_bound(cost: CostModel, requests: Sequence[Request], num_devices: int, limit_s: float = 60.0) -> Bound:
    """The mixed-integer programme: a request is served whole or not at all; its steps may still be split.

    What is proved after `limit_s` seconds, so not the same on every machine unless `complete`.
    """
    if not requests:
        return Bound(1.0, complete=True)
    if not limit_s > 0:
        raise ConfigurationError(f"time limit is {limit_s} seconds, must be above 0")
    most, complete = _solve(make_programme(cost, requests, num_devices, whole=True), whole=True, limit_s=limit_s)
    return Bound(math.floor(min(most, len(requests)) + ROUNDING) / len(requests), complete)


def _solve(programme: Programme, whole: bool, limit_s: float) -> tuple[float, bool]:
    """A proved upper bound on the objective, and whether it is the optimum. Raises ConfigurationError without scipy."""
    try:
        import numpy as np  # noqa: PLC0415
        from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415
        from scipy.sparse import csr_array  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError("bounds need scipy: pip install 'tetriserve[bound]'") from error
    rows, columns, values = zip(*programme.cells, strict=True)
    matrix = csr_array((values, (rows, columns)), shape=(len(programme.lower), programme.num_variables))
    served = (np.arange(programme.num_variables) < programme.num_requests).astype(np.int64)
    result = milp(
        -1.0 * served,
        integrality=served * whole,
        bounds=Bounds(0.0, np.where(served, 1.0, np.inf)),
        constraints=LinearConstraint(matrix, programme.lower, programme.upper),
        options={"mip_rel_gap": 0.0, "time_limit": limit_s},
    )
    complete = bool(result.status == 0)
    if complete and not whole and result.fun is not None:
        return -result.fun, True
    bound = result.mip_dual_bound
    return (programme.num_requests if bound is None else -bound), complete
