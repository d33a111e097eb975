"""How fast devices really are, beside what the profile says of them."""

from collections.abc import Iterable

WEIGHT = 0.1
"""Of the newest chunk in the mean."""
LEAST_CHUNKS = 10
"""So many chunks must have been seen before a device is judged."""
LEAST_FACTOR = 1.3
"""Chunks that take less than this many times what was predicted are within what profiles and machines vary."""
WELL_FACTOR = 1.15
"""A slow device must come down to this to be taken for well: it would change back and forth otherwise."""


class Pace:
    """Exponential means of measured by predicted times, one for each device.

    Joint work takes as long as its slowest device, so that is in the mean of all; who is well shows it in other work.
    """

    def __init__(self, num_devices: int) -> None:
        self._means = [1.0] * num_devices
        self._num_seen = [0] * num_devices
        self._slow: dict[int, float] = {}

    @property
    def slow(self) -> dict[int, float]:
        """Devices that have long been slower than the profile, and how many times."""
        return dict(self._slow)

    def observe(self, devices: Iterable[int], measured_s: float, predicted_s: float) -> None:
        """A chunk took so long."""
        if predicted_s <= 0:
            return
        for device in devices:
            self._means[device] += WEIGHT * (measured_s / predicted_s - self._means[device])
            self._num_seen[device] += 1
            limit = WELL_FACTOR if device in self._slow else LEAST_FACTOR
            if self._num_seen[device] >= LEAST_CHUNKS and self._means[device] >= limit:
                self._slow[device] = self._means[device]
            else:
                self._slow.pop(device, None)

    def factor(self, devices: Iterable[int]) -> float:
        """By how much work on these devices is expected to take longer than the profile says."""
        if not self._slow:
            return 1.0
        return max([self._slow.get(device, 1.0) for device in devices])

    @property
    def mean(self) -> float:
        """By how much work is expected to take longer on the mean device."""
        if not self._slow:
            return 1.0
        return sum(self._slow.get(device, 1.0) for device in range(len(self._means))) / len(self._means)

    def forget(self, devices: Iterable[int]) -> None:
        """Other workers are there now."""
        for device in devices:
            self._means[device], self._num_seen[device] = 1.0, 0
            self._slow.pop(device, None)
