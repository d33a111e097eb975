"""How fast devices really are, beside what the profile says of them."""

from collections.abc import Iterable

WEIGHT = 0.1
"""Of the newest chunk in the means."""
LEAST_CHUNKS = 10
"""So many chunks must have been seen before a device is judged."""
LEAST_FACTOR = 1.3
"""Who takes less than this many times what was predicted is within what profiles and machines vary, not slow."""
LEAST_DIFFERENCE = 0.005
"""Nearer to the profile than this, a device is taken to be as fast as that."""
WELL_FACTOR = 1.15
"""A slow device must come down to this to be taken for well: it would change back and forth otherwise."""

RISE_S, FALL_S = 1.2, 12.0
"""Seconds of work in which promises follow a machine that becomes slower, and one that becomes faster."""


class Pace:
    """Measured by predicted time of late, for each device; and expectiles, for promises.

    It is told of steps alone: encodes and decodes wait for the host, and a prompt that is known takes no time.
    Exponential means of both times are divided, so that chunks count by their work. Joint work takes as long as its
    slowest device, so that is in the mean of all; who is well shows it in other work.
    """

    def __init__(self, num_devices: int) -> None:
        self._means = [1.0] * num_devices
        self._measured_s = [0.0] * num_devices
        self._predicted_s = [0.0] * num_devices
        self._cautious = [1.0] * num_devices
        self._num_seen = [0] * num_devices
        self._slow: dict[int, float] = {}

    @property
    def slow(self) -> dict[int, float]:
        """Devices that have long been slower than the profile, and how many times."""
        return dict(self._slow)

    def observe(self, devices: Iterable[int], measured_s: float, predicted_s: float) -> None:
        """A chunk of steps took so long."""
        if predicted_s <= 0:
            return
        ratio = measured_s / predicted_s
        for device in devices:
            mean = self._means[device] = self._mean_with(device, measured_s, predicted_s)
            memory_s = RISE_S if ratio > self._cautious[device] else FALL_S
            self._cautious[device] += min(1.0, predicted_s / memory_s) * (ratio - self._cautious[device])
            self._num_seen[device] += 1
            limit = WELL_FACTOR if device in self._slow else LEAST_FACTOR
            if self._num_seen[device] >= LEAST_CHUNKS and mean >= limit:
                self._slow[device] = mean
            else:
                self._slow.pop(device, None)

    def _mean_with(self, device: int, measured_s: float, predicted_s: float) -> float:
        if self._num_seen[device] == 0:  # before it, as much work is taken to have been as the profile says
            self._measured_s[device] = self._predicted_s[device] = predicted_s
        self._measured_s[device] += WEIGHT * (measured_s - self._measured_s[device])
        self._predicted_s[device] += WEIGHT * (predicted_s - self._predicted_s[device])
        return self._measured_s[device] / self._predicted_s[device]

    def factor(self, devices: Iterable[int]) -> float:
        """How many times as long as the profile says work on these devices is expected to take."""
        return max([self._factor(device) for device in devices])

    def _factor(self, device: int) -> float:
        mean, is_known = self._means[device], self._num_seen[device] >= LEAST_CHUNKS
        return mean if is_known and abs(mean - 1) > LEAST_DIFFERENCE else 1.0

    @property
    def mean(self) -> float:
        """By how much longer work takes on the mean device than the profile says; what is faster counts as 1."""
        return sum([max(1.0, mean) for mean in self._means]) / len(self._means)

    @property
    def cautious(self) -> float:
        """By how much longer it may well take.

        Means that follow slow work ten times as fast as quick work: expectiles, the further above the mean the more
        times vary. Source: Newey and Powell (1987).
        """
        return sum([max(1.0, worst) for worst in self._cautious]) / len(self._cautious)

    def forget(self, devices: Iterable[int]) -> None:
        """Other workers are there now."""
        for device in devices:
            self._means[device] = self._cautious[device] = 1.0
            self._num_seen[device] = 0
            self._slow.pop(device, None)
