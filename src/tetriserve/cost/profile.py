"""The profile file: measured times of one model on one kind of device, with their provenance."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tetriserve.core.chunk import Stage
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import SIZE_MULTIPLE, Size

FORMAT = 1
MAX_TIME_S = 86_400.0
MAX_COUNT = 999_999
ALIKE = ("model", "gpu", "num_gpus_measured", "dtype", "text_tokens", "torch")
"""What two profiles must have in common to be one: the number of GPUs, too, since all of them are busy meanwhile."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one denoising step of `batch` images of one size at one degree of sequence parallelism."""

    width: int
    height: int
    degree: int
    batch: int
    step_s: float
    origin: str = "measured"

    @property
    def size(self) -> Size:
        """The image size in pixels."""
        return Size(self.width, self.height)


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds that a device is held by one ENCODE or DECODE of `batch` images of one size."""

    stage: Stage
    width: int
    height: int
    batch: int
    seconds: float

    @property
    def size(self) -> Size:
        """The image size in pixels."""
        return Size(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Profile:
    """Everything a cost model needs to know, and where it comes from.

    `switch_s` is the time a request loses when its device block changes. Source of the idea: TetriServe §4.2.1.
    """

    model: str
    gpu: str
    num_gpus_measured: int
    dtype: str
    text_tokens: int
    how: str
    torch: str
    measured_on: str
    entries: tuple[StepTime, ...]
    stages: tuple[StageTime, ...] = ()
    switch_s: float | None = None
    format: int = field(default=FORMAT)

    def with_extrapolated(self, factor: float) -> "Profile":
        """The same with every extrapolated time multiplied: what if those are wrong? Raises ConfigurationError."""
        if not 0 < factor < float("inf"):
            raise ConfigurationError(f"factor of extrapolated times is {factor:g}, must be a positive number")
        entries = [
            replace(entry, step_s=entry.step_s * factor) if entry.origin == "extrapolated" else entry
            for entry in self.entries
        ]
        return replace(self, entries=tuple(entries))

    def merged(self, newer: "Profile") -> "Profile":
        """This profile with the sizes of `newer` in it or in the place of its own, each with all its steps and stages.

        `switch_s` is measured at a profile's smallest size, so this one's is kept if that size is here. `how` names all
        ways in which times were measured, `measured_on` is the last day. Raises ConfigurationError if not `ALIKE`.
        """
        for name in ALIKE:
            before, now = getattr(self, name), getattr(newer, name)
            if before != now:
                raise ConfigurationError(f"{name} was {before!r} and is {now!r}")
        sizes = {entry.size for entry in newer.entries}
        entries = [*newer.entries, *(entry for entry in self.entries if entry.size not in sizes)]
        stages = [*newer.stages, *(stage for stage in self.stages if stage.size not in sizes)]
        has_smallest = min(map(_by_size, self.entries)) < min(map(_by_size, newer.entries))
        return replace(
            newer,
            entries=tuple(sorted(entries, key=_by_size)),
            stages=tuple(sorted(stages, key=_by_size)),
            switch_s=self.switch_s if has_smallest and self.switch_s is not None else newer.switch_s,
            how="; ".join(dict.fromkeys([*str(self.how).split("; "), newer.how])),
        )

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "profile") -> "Profile":
        """Read a profile. Raises ConfigurationError that names `source` and the fault."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.get("format") != FORMAT:
                raise ValueError(f"format {raw.get('format')!r}, need {FORMAT}")
            entries = tuple(StepTime(**entry) for entry in raw.pop("entries"))
            stages = tuple(StageTime(**{**stage, "stage": Stage(stage["stage"])}) for stage in raw.pop("stages", ()))
            _check(entries, stages)
            _check_rest(raw)
            return cls(entries=entries, stages=stages, **raw)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigurationError(f"{source}: not a usable profile: {error}") from error

    @classmethod
    def load(cls, path: Path) -> "Profile":
        """Read a profile file. Raises ConfigurationError."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot read the profile: {error}") from error
        return cls.from_json(text, str(path))


def unmeasured_profile(model: str, sizes: Iterable[Size], degrees: Iterable[int]) -> Profile:
    """A profile for policies that don't look at times: every step takes a second."""
    entries = [StepTime(*size, degree, 1, 1.0, "unmeasured") for size in sizes for degree in degrees]
    return Profile(model, "any", 0, "any", 0, "not measured", "any", "never", tuple(entries), switch_s=0.0)


def _by_size(time: StepTime | StageTime) -> tuple[float, Size]:
    return time.size.num_tokens, time.size


def _check(entries: tuple[StepTime, ...], stages: tuple[StageTime, ...]) -> None:
    if not any(entry.degree == 1 and entry.batch == 1 for entry in entries):
        raise ValueError("no entry of degree 1 and batch 1")
    for entry in entries:
        if not isinstance(entry.step_s, int | float):
            raise ValueError(f"entry {entry}: step_s is not a number")
        if not 0 < entry.step_s <= MAX_TIME_S or not _is_possible(entry) or not _is_count(entry.degree):
            raise ValueError(f"entry {entry} has a number out of range")
    for stage in stages:
        if not 0 <= stage.seconds <= MAX_TIME_S or not _is_possible(stage):
            raise ValueError(f"stage {stage} has a number out of range")


def _is_possible(time: StepTime | StageTime) -> bool:
    """Whether the sides are at least a token, and all are whole numbers that are not absurd."""
    return _is_count(time.batch) and all(_is_count(side) and side >= SIZE_MULTIPLE for side in time.size)


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_COUNT


def _check_rest(raw: dict[str, Any]) -> None:
    for name in ("model", "gpu", "dtype"):
        if not isinstance(raw.get(name), str):
            raise ValueError(f"{name} is {raw.get(name)!r}, must be a string")
    switch_s = raw.get("switch_s")
    if switch_s is not None and not (isinstance(switch_s, int | float) and 0 <= switch_s <= MAX_TIME_S):
        raise ValueError(f"switch_s is {switch_s!r}, must be from 0 to {MAX_TIME_S:g} seconds")
