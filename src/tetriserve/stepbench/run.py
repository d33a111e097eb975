"""Runs contender after contender, each in fresh processes, and puts the results side by side."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetriserve.core.errors import EngineError
from tetriserve.stepbench.cells import CONTENDERS, Measured, StepCell, best_peer

ALONE = ("diffusers", "diffusers-compiled")
"""Contenders that know one GPU only."""


@dataclass(frozen=True, slots=True)
class StepRun:
    """What a run found: the GPU, the floor of every cell, and everybody's steps."""

    gpu: str
    torch: str
    flops: float
    bytes_per_s: float
    floors_ms: dict[StepCell, float]
    results: tuple[Measured, ...]

    def to_json(self) -> dict[str, Any]:
        """For the result file and the last line of output."""
        cells = []
        for result in self.results:
            peer, floor_ms, median_ms = (
                best_peer(self.results, result.cell),
                self.floors_ms[result.cell],
                result.median_ms,
            )
            ratio = median_ms / peer.median_ms if median_ms and peer and peer.median_ms else None
            share = floor_ms / median_ms if median_ms else None
            cells.append({**result.to_json(), "floor_ms": floor_ms, "share_of_floor": share, "to_best_peer": ratio})
        ceilings = {"bf16_tflops": self.flops / 1e12, "copy_tb_per_s": self.bytes_per_s / 1e12}
        return {"gpu": self.gpu, "torch": self.torch, "ceilings": ceilings, "cells": cells}


def plan(cells: Sequence[StepCell], contenders: Sequence[str]) -> list[tuple[str, list[StepCell]]]:
    """Who measures what in one set of processes: a contender at one degree."""
    return [
        (name, same)
        for degree in sorted({cell.degree for cell in cells})
        for name in CONTENDERS
        if name in contenders and (degree == 1 or name not in ALONE) and (degree > 1 or name != "diffusers-parallel")
        if (same := [cell for cell in cells if cell.degree == degree])
    ]


def run(
    cells: Sequence[StepCell],
    contenders: Sequence[str],
    num_steps: int,
    on_floors: Callable[[StepRun], None],
    on_result: Callable[[Measured], None],
) -> StepRun:
    """Measure everything. `on_floors` hears the ceilings before the first step, `on_result` every cell at once."""
    from tetriserve.stepbench import rank  # noqa: PLC0415  (imports torch)

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=rank.ceilings, args=(theirs, cells))
    process.start()
    theirs.close()
    try:
        gpu, torch_version, found, floors = ours.recv()
    except EOFError:
        raise EngineError("the ceilings of the GPU could not be measured") from None
    process.join()
    floors_ms = dict(zip(cells, floors, strict=True))
    report = StepRun(gpu, torch_version, found.flops, found.bytes_per_s, floors_ms, ())
    on_floors(report)
    results: list[Measured] = []
    for name, same in plan(cells, contenders):
        for result in _contend(name, same, num_steps):
            results.append(result)
            on_result(result)
    return StepRun(gpu, torch_version, found.flops, found.bytes_per_s, floors_ms, tuple(results))


def _contend(name: str, cells: Sequence[StepCell], num_steps: int) -> Iterator[Measured]:
    """Results of one contender; cells that its processes did not live to measure are failures."""
    from tetriserve.stepbench import rank  # noqa: PLC0415

    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29531")
    with tempfile.TemporaryDirectory() as scratch:
        store = str(Path(scratch) / "store")
        processes = [
            context.Process(target=rank.measure, args=(theirs, name, index, cells, num_steps, store), daemon=True)
            for index in range(cells[0].degree)
        ]
        for process in processes:
            process.start()
        theirs.close()
        done = 0
        try:
            while done < len(cells):
                yield ours.recv()
                done += 1
        except EOFError:
            for cell in cells[done:]:
                yield Measured(name, cell, failure="its processes ended early; see their output above")
        finally:
            for process in processes:
                process.join(10)
                process.kill()
