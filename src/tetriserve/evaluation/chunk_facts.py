"""What the chunks of a cell tell: how busy devices were, how right the profile was, what switches cost."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from tetriserve.core.size import Size
from tetriserve.cost.model import CostModel
from tetriserve.metrics.attainment import quantile

Kind = tuple[Size, int, int]
"""Of steps: size, degree, batch."""


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """`utilization`: share of device-seconds in chunks, from the first arrival to the last end.

    `median_error`, `p95_error`: of the time of a chunk of steps against the profile's, relative; the second is of the
    absolute value. `moves` and `degree_changes` are per image. `move_ms`: how much longer, in the median, a chunk
    takes beyond its steps after its request has moved to other devices than after one that stayed.
    """

    utilization: float
    median_error: float
    p95_error: float
    moves: float
    degree_changes: float
    move_ms: float


@dataclass(frozen=True, slots=True)
class _Steps:
    """A chunk of steps that was done."""

    kind: Kind
    measured_s: float
    predicted_s: float
    moved: bool

    @property
    def ratio(self) -> float:
        """Measured over predicted."""
        return self.measured_s / self.predicted_s


def chunk_facts(document: Mapping[str, Any], cost: CostModel) -> ChunkFacts | None:
    """None for a server that shows no chunks."""
    chunks, requests = document["chunks"], document["requests"]
    if not chunks:
        return None
    steps = list(_steps(document, cost))
    errors = [one.ratio - 1 for one in steps]
    return ChunkFacts(
        utilization=_utilization(chunks, document["load"]["num_devices"]),
        median_error=statistics.median(errors),
        p95_error=quantile(sorted(map(abs, errors)), 0.95),
        moves=sum(one.moved for one in steps) / len(requests),
        degree_changes=sum(a != b for row in requests for a, b in pairwise(row["degrees"])) / len(requests),
        move_ms=1e3 * (_median_excess_s(steps, moved=True) - _median_excess_s(steps, moved=False)),
    )


def as_fast_as(document: Mapping[str, Any], cost: CostModel) -> CostModel:
    """The cost model with chunks that take what they took in this cell, in the median.

    Kinds of steps that it doesn't have are as all were; encoding and decoding stay as they are where it has none.
    """
    ratios: defaultdict[Kind, list[float]] = defaultdict(list)
    steps = list(_steps(document, cost))
    for one in steps:
        ratios[one.kind].append(one.ratio)
    usual = statistics.median([one.ratio for one in steps] or [1.0])
    paces = {kind: statistics.median(found) for kind, found in ratios.items()}
    entries = [
        replace(entry, step_s=entry.step_s * paces.get((entry.size, entry.degree, entry.batch), usual))
        for entry in cost.profile.entries
    ]
    taken_s = _stage_times(document)
    stages = [
        replace(stage, seconds=taken_s.get((str(stage.stage), stage.size), stage.seconds))
        for stage in cost.profile.stages
    ]
    profile = replace(cost.profile, entries=tuple(entries), stages=tuple(stages))
    return CostModel(profile, document["load"]["num_devices"])


def _stage_times(document: Mapping[str, Any]) -> dict[tuple[str, Size], float]:
    """Median seconds of an encode and a decode by size."""
    sizes = _sizes(document)
    times: defaultdict[tuple[str, Size], list[float]] = defaultdict(list)
    for chunk in document["chunks"]:
        size = sizes.get(chunk["request_ids"][0])
        if chunk["stage"] != "denoise" and chunk["state"] == "done" and size is not None:
            times[chunk["stage"], size].append(chunk["finished_s"] - chunk["started_s"])
    return {kind: statistics.median(found) for kind, found in times.items()}


def _sizes(document: Mapping[str, Any]) -> dict[str, Size]:
    return {row["request_id"]: Size.parse(row["size"]) for row in document["requests"]}


def _steps(document: Mapping[str, Any], cost: CostModel) -> Iterator[_Steps]:
    sizes = _sizes(document)
    last: dict[str, list[int]] = {}
    for chunk in sorted(document["chunks"], key=lambda chunk: chunk["started_s"]):
        ids, devices = chunk["request_ids"], chunk["devices"]
        if chunk["stage"] != "denoise" or chunk["state"] != "done" or ids[0] not in sizes:
            continue
        moved = any(last.get(id_, devices) != devices for id_ in ids)
        last.update(dict.fromkeys(ids, devices))
        kind = sizes[ids[0]], len(devices), len(ids)
        yield _Steps(kind, chunk["finished_s"] - chunk["started_s"], chunk["num_steps"] * cost.step_s(*kind), moved)


def _median_excess_s(steps: list[_Steps], *, moved: bool) -> float:
    excess_s = [one.measured_s - one.predicted_s for one in steps if one.moved == moved]
    return statistics.median(excess_s) if excess_s else math.nan


def _utilization(chunks: list[Mapping[str, Any]], num_devices: int) -> float:
    busy_s = math.fsum(len(one["devices"]) * (one["finished_s"] - one["started_s"]) for one in chunks)
    return busy_s / float(num_devices * max(one["finished_s"] for one in chunks))
