"""How long nothing got done after a fault, as clients see it."""

from bisect import bisect_left
from collections.abc import Sequence

from chaos.history import History
from chaos.plan import Kind
from tetriserve.metrics.attainment import quantile

WINDOW_S = 2.0
"""A worker's death shows at the latest so long after it: what was on its way arrives still."""


def silence_s(alive_s: Sequence[float], begin_s: float) -> float | None:
    """The longest time without a sign of life that begins in the window after a fault; None if none came any more."""
    first = bisect_left(alive_s, begin_s)
    last_s, longest_s = begin_s, 0.0
    for at_s in alive_s[first:]:
        longest_s, last_s = max(longest_s, at_s - last_s), at_s
        if at_s > begin_s + WINDOW_S:
            return longest_s
    return None


def recoveries(history: History) -> dict[Kind, dict[str, float]]:
    """Quantiles by kind of fault. Faults come faster than recoveries end, so one fault's silence holds others' too."""
    found: dict[Kind, list[float]] = {}
    for one in history.injections:
        silent_s = silence_s(history.alive_s, one.begin_s) if one.hit else None
        if silent_s is not None:
            found.setdefault(one.fault.kind, []).append(silent_s)
    return {
        kind: {"num": len(silences_s)} | {f"p{share}_s": _quantile(silences_s, share) for share in (50, 90, 99)}
        for kind, silences_s in found.items()
    }


def _quantile(values: Sequence[float], share: int) -> float:
    return round(quantile(sorted(values), share / 100), 3)
