"""Whether a profile can answer for a workload. Numbers out of range are refused earlier, when the file is read."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby, pairwise

from tetriserve.core.chunk import Stage
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.profile import Profile, StepTime


def check_profile(profile: Profile, sizes: Iterable[Size], num_devices: int, source: str = "profile") -> None:
    """Raises ConfigurationError, naming entry and value, if the profile can't be trusted for these sizes.

    Sizes between profiled ones are interpolated, so only those outside are missing. A step may be slower at a
    higher degree, never for a larger image at the same degree and batch.
    """
    try:
        _check_complete(profile, num_devices)
        _check_covered(profile, sizes)
        _check_steps_grow(profile)
        _check_stages_grow(profile)
    except ValueError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _check_complete(profile: Profile, num_devices: int) -> None:
    """All degrees from 1 to the highest usable one, each at every size."""
    known = defaultdict(set)
    for entry in profile.entries:
        if entry.batch == 1 and entry.degree <= num_devices:
            known[entry.degree].add(entry.size)
    sizes = sorted({entry.size for entry in profile.entries}, key=lambda size: size.num_tokens)
    degree = 1
    while degree <= max(known, default=1):
        for size in sizes:
            if size not in known[degree]:
                raise ValueError(f"no entry for size {size} at degree {degree} and batch 1")
        degree *= 2


def _check_covered(profile: Profile, sizes: Iterable[Size]) -> None:
    ordered = sorted({entry.size for entry in profile.entries}, key=lambda size: size.num_tokens)
    least, most = ordered[0], ordered[-1]
    for size in sizes:
        if not least.num_tokens <= size.num_tokens <= most.num_tokens:
            raise ValueError(f"no entry for size {size}; it has sizes from {least} to {most}")


def _check_steps_grow(profile: Profile) -> None:
    def key(entry: StepTime) -> tuple[int, int]:
        return entry.degree, entry.batch

    for (degree, batch), group in groupby(sorted(profile.entries, key=key), key):
        for small, large in pairwise(sorted(group, key=lambda entry: entry.size.num_tokens)):
            if small.size.num_tokens < large.size.num_tokens and small.step_s > large.step_s:
                raise ValueError(
                    f"the entry for size {large.size} at degree {degree} and batch {batch} takes {large.step_s} s, "
                    f"less than the {small.step_s} s of the smaller {small.size}"
                )


def _check_stages_grow(profile: Profile) -> None:
    """Decoding must grow with the image; encoding looks at the prompt only, and may jitter."""
    stages = [stage for stage in profile.stages if stage.stage is Stage.DECODE and stage.batch == 1]
    for small, large in pairwise(sorted(stages, key=lambda stage: stage.size.num_tokens)):
        if small.size.num_tokens < large.size.num_tokens and small.seconds > large.seconds:
            raise ValueError(
                f"decoding {large.size} takes {large.seconds} s, less than the {small.seconds} s of the "
                f"smaller {small.size}"
            )
