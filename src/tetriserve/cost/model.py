"""The cost model: how long a step or stage takes, for any size, from a profile of some sizes.

Source: TetriServe §4.2.1 (lookup table of T(resolution, k)); differs: sizes between the profiled ones are
interpolated on tokens instead of being refused, and outside the profiled range the nearest two are extended.
"""

import logging
import math
from bisect import bisect_left
from collections import defaultdict
from functools import cache

from tetriserve.core.chunk import Chunk, Stage
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.profile import Profile

logger = logging.getLogger(__name__)

Curve = tuple[tuple[float, float], ...]
"""(tokens, seconds) in ascending order of tokens."""


class CostModel:
    """Answers in seconds. Immutable after construction; answers are cached."""

    def __init__(self, profile: Profile, num_devices: int) -> None:
        steps: dict[tuple[int, int], dict[float, float]] = defaultdict(dict)
        for entry in profile.entries:
            if entry.degree <= num_devices:
                steps[entry.degree, entry.batch][entry.size.num_tokens] = entry.step_s
        stages: dict[Stage, dict[float, float]] = defaultdict(dict)
        for stage in profile.stages:
            if stage.batch == 1:
                stages[stage.stage][stage.size.num_tokens] = stage.seconds
        self.profile = profile
        self.degrees = tuple(sorted({degree for degree, batch in steps if batch == 1}))
        self.sizes = tuple(sorted({entry.size for entry in profile.entries}, key=lambda size: size.num_tokens))
        self._steps: dict[tuple[int, int], Curve] = {key: _curve(points) for key, points in steps.items()}
        self._stages: dict[Stage, Curve] = {key: _curve(points) for key, points in stages.items()}
        if not self.degrees:
            raise ConfigurationError(f"the profile of {profile.model} has no degree up to {num_devices}")
        if profile.switch_s is None:
            logger.info("profile of %s has no switch_s: switching degree is taken to cost nothing", profile.model)
        self.switch_s = profile.switch_s or 0.0
        self.step_s = cache(self._step_s)
        self.stage_s = cache(self._stage_s)
        self.fastest_degree = cache(self._fastest_degree)

    def batches(self, degree: int, size: Size | None = None) -> tuple[int, ...]:
        """Batch sizes that the profile knows at this degree; with `size`, those measured at it or around it.

        Times of single images are extended beyond the profiled sizes, since every image must be made. A batch is a
        choice, and only worth one where its gain was measured.
        """
        known = [(batch, curve) for (at, batch), curve in self._steps.items() if at == degree]
        return tuple(sorted(batch for batch, curve in known if size is None or batch == 1 or _covers(curve, size)))

    def step_gpu_s(self, size: Size, degree: int) -> float:
        """GPU time of one step: seconds x devices."""
        return degree * self.step_s(size, degree)

    def min_step_s(self, size: Size) -> float:
        """The fastest step at any degree."""
        return self.step_s(size, self.fastest_degree(size))

    def solo_s(self, size: Size, num_steps: float, degree: int | None = None) -> float:
        """An image made alone from start to end, all stages included; at its fastest degree unless one is given."""
        step_s = self.min_step_s(size) if degree is None else self.step_s(size, degree)
        return self.stage_s(Stage.ENCODE, size) + num_steps * step_s + self.stage_s(Stage.DECODE, size)

    def chunk_s(self, chunk: Chunk, size: Size, moved: bool = False) -> float:
        """A chunk from start to end; `moved` says that its request took its last steps on another block."""
        if chunk.stage is not Stage.DENOISE:
            return self.stage_s(chunk.stage, size)
        seconds = chunk.num_steps * self.step_s(size, len(chunk.devices), len(chunk.request_ids))
        return seconds + self.switch_s if moved else seconds

    def _step_s(self, size: Size, degree: int, batch: int = 1) -> float:
        if (degree, batch) not in self._steps:
            raise KeyError(f"the profile has no step of degree {degree} and batch {batch}")
        return _interpolate(self._steps[degree, batch], size.num_tokens)

    def _stage_s(self, stage: Stage, size: Size) -> float:
        curve = self._stages.get(stage)
        return _interpolate(curve, size.num_tokens) if curve else 0.0

    def _fastest_degree(self, size: Size) -> int:
        return min(self.degrees, key=lambda degree: (self._step_s(size, degree), degree))


def _curve(points: dict[float, float]) -> Curve:
    return tuple(sorted(points.items()))


def _covers(curve: Curve, size: Size) -> bool:
    return curve[0][0] <= size.num_tokens <= curve[-1][0]


def _interpolate(curve: Curve, tokens: float) -> float:
    """Linear between neighbours in log-log space: a power law through two measurements, positive everywhere."""
    if len(curve) == 1:
        return curve[0][1]
    right = min(max(bisect_left(curve, (tokens,)), 1), len(curve) - 1)
    (x0, y0), (x1, y1) = curve[right - 1], curve[right]
    if min(y0, y1) <= 0:
        return max(y0, y1)
    share = math.log(tokens / x0) / math.log(x1 / x0)
    return math.exp(math.log(y0) + share * (math.log(y1) - math.log(y0)))
