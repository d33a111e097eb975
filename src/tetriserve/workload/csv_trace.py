"""Real arrivals: a CSV file with one row a request, whose columns are named by the caller.

Alibaba's GenAI trace (cluster-trace-v2026-GenAI, lora_request_trace.csv) has `gmt_create` and
`num_inference_steps`, but no sizes; what has no column is drawn or set like in a made-up workload.
"""

import csv
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.params import MAX_PROMPT_CHARS, MAX_STEPS
from tetriserve.core.size import Size
from tetriserve.workload.generate import WorkloadConfig
from tetriserve.workload.prompts import PROMPTS
from tetriserve.workload.trace import TraceEntry

UNITS_S: Mapping[str, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """Names of columns. `arrival` holds numbers in `unit`, or ISO dates and times. `where`: only rows like this."""

    arrival: str
    unit: str = "s"
    size: str | None = None
    width: str | None = None
    height: str | None = None
    steps: str | None = None
    prompt: str | None = None
    where: Mapping[str, str] | None = None

    def names(self) -> list[str]:
        """All columns that must be there."""
        known = (self.arrival, self.size, self.width, self.height, self.steps, self.prompt, *(self.where or ()))
        return [name for name in known if name is not None]


@dataclass(frozen=True, slots=True)
class _Row:
    arrival_s: float
    size: Size | None
    num_inference_steps: int | None
    prompt: str | None


def read_csv(
    path: Path,
    columns: CsvColumns,
    config: WorkloadConfig,
    slo_s: Callable[[Size], float],
    rate_per_min: float | None = None,
) -> tuple[TraceEntry, ...]:
    """The first `config.num_requests` rows by arrival; the first arrives at 0.

    With `rate_per_min`, time is stretched to that mean rate. Raises ConfigurationError with file, line and value.
    """
    rows = sorted(_rows(path, columns), key=lambda row: row.arrival_s)[: config.num_requests]
    if not rows:
        raise ConfigurationError(f"{path}: no row is a request")
    scale = 1.0 if rate_per_min is None else _stretch(rows, rate_per_min, path)
    sizes, words = (random.Random(f"{config.seed}/{what}") for what in ("sizes", "prompts"))
    drawn = sizes.choices(list(config.mix), weights=list(config.mix.values()), k=len(rows))
    width = len(str(len(rows) - 1))
    entries = []
    for index, (row, other) in enumerate(zip(rows, drawn, strict=True)):
        size, steps = row.size or other, row.num_inference_steps or config.num_inference_steps
        arrival_s = (row.arrival_s - rows[0].arrival_s) * scale
        prompt = row.prompt or words.choice(PROMPTS)
        entries.append(TraceEntry(f"r{index:0{width}}", arrival_s, *size, steps, slo_s(size), prompt))
    return tuple(entries)


def _stretch(rows: Sequence[_Row], rate_per_min: float, path: Path) -> float:
    """The factor on times that gives the mean rate."""
    if not 0 < rate_per_min < float("inf"):
        raise ConfigurationError(f"rate is {rate_per_min} requests per minute, must be a positive number")
    span_s = rows[-1].arrival_s - rows[0].arrival_s
    if span_s <= 0:
        raise ConfigurationError(f"{path}: all requests arrive at once, so no rate can be reached")
    return 60 * (len(rows) - 1) / rate_per_min / span_s


def _rows(path: Path, columns: CsvColumns) -> Iterator[_Row]:
    where = (columns.where or {}).items()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            for name in columns.names():
                if name not in (reader.fieldnames or ()):
                    there = ", ".join(reader.fieldnames or ())
                    raise ConfigurationError(f"{path}: no column {name!r}; there are {there}")
            for raw in reader:
                if all(raw[name] == value for name, value in where):
                    yield _parse(raw, columns, f"{path}, line {reader.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f"{path}: cannot read the CSV file: {error}") from error


def _parse(raw: Mapping[str, str | None], columns: CsvColumns, place: str) -> _Row:
    try:
        return _Row(
            _arrival_s(raw[columns.arrival] or "", columns),
            _size(raw, columns),
            _steps(raw[columns.steps], columns.steps) if columns.steps else None,
            (raw[columns.prompt] or "")[:MAX_PROMPT_CHARS] if columns.prompt else None,
        )
    except (ValueError, InvalidRequestError) as error:
        raise ConfigurationError(f"{place}: {error}") from error


def _arrival_s(text: str, columns: CsvColumns) -> float:
    try:
        value = float(text) * UNITS_S[columns.unit]
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            value = float("nan")
    if not abs(value) < float("inf"):
        raise ValueError(f"{columns.arrival} is {text[:40]!r}, must be a number or an ISO date and time")
    return value


def _size(raw: Mapping[str, str | None], columns: CsvColumns) -> Size | None:
    if columns.size is not None:
        return Size.parse(raw[columns.size] or "")
    if columns.width is not None and columns.height is not None:
        return Size.parse(f"{_whole(raw[columns.width], columns.width)}x{_whole(raw[columns.height], columns.height)}")
    return None


def _steps(text: str | None, name: str) -> int | None:
    """None where the cell is empty."""
    if not text:
        return None
    if not 1 <= _whole(text, name) <= MAX_STEPS:
        raise ValueError(f"{name} is {text}, must be 1 to {MAX_STEPS}")
    return _whole(text, name)


def _whole(text: str | None, name: str) -> int:
    """Reads `30` and `30.0`."""
    try:
        return int(text or "") if "." not in (text or "") else _exact(float(text or ""))
    except (ValueError, OverflowError):
        raise ValueError(f"{name} is {(text or '')[:40]!r}, must be a whole number") from None


def _exact(value: float) -> int:
    if value != int(value):
        raise ValueError
    return int(value)
