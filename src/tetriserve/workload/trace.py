"""Workloads as files: JSON Lines, one request a line."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.params import MAX_PROMPT_CHARS, MAX_SLO_S, MAX_STEPS
from tetriserve.core.request import Request
from tetriserve.core.size import Size

MAX_ID_LENGTH = 128


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One line: who arrives when (seconds from the start), wants what, and within how many seconds."""

    request_id: str
    arrival_s: float
    width: int
    height: int
    num_inference_steps: int
    slo_s: float
    prompt: str

    @property
    def size(self) -> Size:
        """The image size in pixels."""
        return Size(self.width, self.height)

    def to_request(self, seed: int = 0, guidance_scale: float = 3.5) -> Request:
        """The request it stands for, on a clock that starts with the trace."""
        return Request(
            request_id=self.request_id,
            prompt=self.prompt,
            size=self.size,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=guidance_scale,
            seed=seed,
            arrival_s=self.arrival_s,
            deadline_s=self.arrival_s + self.slo_s,
        )


def write_trace(path: Path, entries: Iterable[TraceEntry]) -> None:
    """Write a trace file; the same entries give the same bytes."""
    path.write_text(to_json_lines(entries), encoding="utf-8")


def to_json_lines(entries: Iterable[TraceEntry]) -> str:
    """The text of a trace file, in order of arrival."""
    ordered = sorted(entries, key=lambda entry: (entry.arrival_s, entry.request_id))
    return "".join([json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in ordered])


def read_trace(path: Path) -> tuple[TraceEntry, ...]:
    """Read a trace file. Raises ConfigurationError that names file, line, value and limit."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot read the trace: {error}") from error
    entries: dict[str, TraceEntry] = {}
    last_s = 0.0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = _parse(line)
            if entry.request_id in entries:
                raise ValueError(f"request_id {entry.request_id!r} occurs twice")
            if entry.arrival_s < last_s:
                raise ValueError(f"arrival_s is {entry.arrival_s}, before the {last_s} of the line above")
        except (ValueError, RecursionError, InvalidRequestError) as error:
            raise ConfigurationError(f"{path}, line {number}: {error}") from error
        entries[entry.request_id] = entry
        last_s = entry.arrival_s
    if not entries:
        raise ConfigurationError(f"{path}: the trace holds no request")
    return tuple(entries.values())


def _parse(line: str) -> TraceEntry:
    raw = json.loads(line)
    if not isinstance(raw, dict):
        raise ValueError(f"{line[:40]!r} is not an object")
    _check_names(raw)
    _check_text(raw, "request_id", MAX_ID_LENGTH)
    _check_text(raw, "prompt", MAX_PROMPT_CHARS)
    Size.parse(f"{_integer(raw, 'width')}x{_integer(raw, 'height')}")
    if not 1 <= _integer(raw, "num_inference_steps") <= MAX_STEPS:
        raise ValueError(f"num_inference_steps is {raw['num_inference_steps']}, must be 1 to {MAX_STEPS}")
    if _number(raw, "arrival_s") < 0:
        raise ValueError(f"arrival_s is {raw['arrival_s']}, must be at least 0")
    if not 0 < _number(raw, "slo_s") <= MAX_SLO_S:
        raise ValueError(f"slo_s is {raw['slo_s']}, must be above 0 and at most {MAX_SLO_S}")
    return TraceEntry(**raw)


def _check_names(raw: dict[str, Any]) -> None:
    names = [field.name for field in fields(TraceEntry)]
    for name in names:
        if name not in raw:
            raise ValueError(f"{name} is missing")
    for name in raw:
        if name not in names:
            raise ValueError(f"{name[:40]!r} is not a field; there are {', '.join(names)}")


def _check_text(raw: dict[str, Any], name: str, most: int) -> None:
    value = raw[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, must be a string")
    if not 0 < len(value) <= most:
        raise ValueError(f"{name} has {len(value)} characters, must have 1 to {most}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not valid Unicode: {error.reason} at character {error.start}") from None


def _integer(raw: dict[str, Any], name: str) -> int:
    value = raw[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}, must be a whole number")
    return value


def _number(raw: dict[str, Any], name: str) -> float:
    value = raw[name]
    # Not math.isfinite: a whole number that no float can hold breaks it.
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} is {value!r}, must be a finite number")
    return value
