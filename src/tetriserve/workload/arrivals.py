"""When requests arrive: endless ascending times in seconds, from a rate and a source of randomness."""

import random
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from tetriserve.core.errors import ConfigurationError

BURSTY_CV = 3.0
"""Coefficient of variation of the gaps of bursty arrivals; that of Poisson arrivals is 1."""

Gap = Callable[[random.Random], float]
"""Draws one gap between arrivals, with mean 1."""


def _bursty_gap(source: random.Random) -> float:
    """Gamma-distributed: many short gaps and few long ones."""
    return source.gammavariate(1 / BURSTY_CV**2, BURSTY_CV**2)


GAPS: Mapping[str, Gap] = {
    "poisson": lambda source: source.expovariate(1.0),
    "bursty": _bursty_gap,
    "constant": lambda source: 1.0,
}


def arrival_times_s(process: str, rate_per_min: float, source: random.Random) -> Iterator[float]:
    """Arrival times of the named process; the first comes after one gap. Raises ConfigurationError.

    Source: TetriServe §6.1 (Poisson, 12 requests per minute).
    """
    if process not in GAPS:
        raise ConfigurationError(f"arrivals {process!r} are not known; there are {', '.join(GAPS)}")
    if not 0 < rate_per_min < float("inf"):
        raise ConfigurationError(f"rate is {rate_per_min} requests per minute, must be a positive number")
    gap, mean_s = GAPS[process], 60 / rate_per_min
    return accumulate(iter(lambda: gap(source) * mean_s, None))
