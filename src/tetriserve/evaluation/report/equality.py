"""Image equality: distributions of the difference to diffusers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetriserve.evaluation.equality import equality_groups
from tetriserve.evaluation.images import psnr_db
from tetriserve.evaluation.report.markdown import MISSING, number, table
from tetriserve.evaluation.results import DONE, Results
from tetriserve.evaluation.study import Study
from tetriserve.metrics.attainment import quantile

WORDS = {
    "served": "served, degrees as they came",
    "batch": "diffusers, in a batch of four",
    "attention": "diffusers, attention spelled out",
}
QUANTILES = (0.0, 0.05, 0.5, 0.95)
Image = Mapping[str, Any]


def equality_table(study: Study, results: Results) -> str | None:
    """A row for each dtype and cause; None if nothing is done."""
    rows = []
    for dtype, images in _by_dtype(study, results):
        changed = sum(len(set(one["degrees"])) > 1 for one in images)
        rows += [
            _row(f"{dtype}: {words}", images, name, f"{changed} of {len(images)}" if name == "served" else "")
            for name, words in WORDS.items()
            if images and name in images[0]
        ]
    headings = ["", "images", "of two degrees or more", "equal to the last bit", "at most one level apart"]
    headings += ["least PSNR (dB)", "5 %", "median", "95 %"]
    return table(headings, rows) if rows else None


def _by_dtype(study: Study, results: Results) -> Iterator[tuple[str, list[Image]]]:
    for group in equality_groups(study):
        images: list[Image] = []
        for task in group.tasks:
            document = results.read(task.id)
            if document is not None and document["status"] == DONE:
                images += document["images"]
        yield group.wanted.dtype, images


def _row(words: str, images: Sequence[Image], name: str, changed: str) -> list[str]:
    apart = [image[name]["max"] for image in images]
    psnr = sorted(psnr_db(image[name]["mse"]) for image in images)
    ranks = [psnr[0], *(quantile(psnr, rank) for rank in QUANTILES[1:])]
    shown = ["equal" if value == float("inf") else number(value, 1) for value in ranks]
    counts = (sum(one == 0 for one in apart), sum(one <= 1 for one in apart))
    return [words, str(len(images)), changed or MISSING, *map(str, counts), *shown]
