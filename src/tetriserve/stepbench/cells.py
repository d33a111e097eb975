"""What is measured, and what comes of it. Imports no torch, so that the command line starts at once."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tetriserve.core.size import Size

OURS = "tetriserve"
OURS_8_BIT = "tetriserve-fp8"
"""Another image, if only a little: shown beside the others, compared with none of them."""
CONTENDERS = (OURS, OURS_8_BIT, "diffusers", "diffusers-compiled", "diffusers-parallel", "xdit", "xdit-compiled")


@dataclass(frozen=True, slots=True)
class StepCell:
    """One step of `batch` images of a size on `degree` GPUs."""

    size: Size
    batch: int
    degree: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of single steps, or why there are none."""

    contender: str
    cell: StepCell
    samples_ms: tuple[float, ...] = ()
    failure: str = ""

    @property
    def median_ms(self) -> float | None:
        """The typical step."""
        return statistics.median(self.samples_ms) if self.samples_ms else None

    @property
    def cv(self) -> float | None:
        """Standard deviation over mean."""
        return statistics.pstdev(self.samples_ms) / statistics.fmean(self.samples_ms) if self.samples_ms else None

    def to_json(self) -> dict[str, Any]:
        """For the result file."""
        return {
            "contender": self.contender,
            "size": str(self.cell.size),
            "batch": self.cell.batch,
            "gpus": self.cell.degree,
            "median_ms": self.median_ms,
            "low_ms": min(self.samples_ms, default=None),
            "high_ms": max(self.samples_ms, default=None),
            "cv": self.cv,
            "samples_ms": self.samples_ms,
            "failure": self.failure,
        }


def best_peer(results: Sequence[Measured], cell: StepCell) -> Measured | None:
    """The fastest of the others in a cell."""
    peers = [r for r in results if r.cell == cell and r.contender not in (OURS, OURS_8_BIT) and r.samples_ms]
    return min(peers, key=lambda r: r.median_ms or 0.0, default=None)
