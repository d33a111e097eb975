"""How long images take from the device to the caller: as a file, in an answer. Deadlines are the caller's."""

import math
from collections.abc import Hashable
from dataclasses import dataclass

GAIN, DEVIATION_GAIN = 1 / 8, 1 / 4
"""Of the newest time in the mean, and of its distance in the mean deviation."""
NUM_DEVIATIONS = 2.0
"""An image that is planned to arrive in the mean time arrives late every other time."""
MOST_AT_ONCE = 2.0
"""A time counts as at most so many times what was expected: one that stalls is no measure of the next."""
MAX_SHARE = 0.25
"""Of the time that a request has: whatever was learnt, most of it is left to make the image."""
MAX_KINDS = 1000


@dataclass(slots=True)
class _Times:
    mean_s: float
    deviation_s: float


class DeliveryTimes:
    """Learns from each delivery what the next of its kind (size, file format, number of images) will take.

    Source: the estimator of round-trip times in TCP (Jacobson 1988; RFC 6298).
    """

    def __init__(self) -> None:
        self._times: dict[Hashable, _Times] = {}

    def expected_s(self, kind: Hashable, slo_s: float = math.inf) -> float:
        """So long before its deadline an image should be there; 0 for a kind that was never delivered."""
        known = self._times.get(kind)
        return 0.0 if known is None else min(MAX_SHARE * slo_s, known.mean_s + NUM_DEVIATIONS * known.deviation_s)

    def observe(self, kind: Hashable, seconds: float) -> None:
        """A delivery took so long."""
        known = self._times.get(kind)
        if known is None:
            if len(self._times) >= MAX_KINDS:
                del self._times[next(iter(self._times))]
            self._times[kind] = _Times(seconds, seconds / 2)
            return
        seconds = min(seconds, MOST_AT_ONCE * self.expected_s(kind))
        known.deviation_s += DEVIATION_GAIN * (abs(seconds - known.mean_s) - known.deviation_s)
        known.mean_s += GAIN * (seconds - known.mean_s)
