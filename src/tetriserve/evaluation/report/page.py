"""The page: every study that has results, on every machine that has run it."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tetriserve.evaluation.report.charts import draw
from tetriserve.evaluation.report.equality import equality_table
from tetriserve.evaluation.report.fidelity import fidelity_by_size, fidelity_table, pairs, verdict
from tetriserve.evaluation.report.grid import Grid, grids
from tetriserve.evaluation.report.markdown import number, table
from tetriserve.evaluation.report.tables import attainment, attainment_by_size, cost, heading, latency, scheduling
from tetriserve.evaluation.results import DONE, Results
from tetriserve.evaluation.run import groups_of
from tetriserve.evaluation.study import STUDIES, Study

INTRODUCTION = """\
# Evaluation

Servers under load for real, each beside its simulation. This page is written by `tetriserve evaluate report` from the
files in {results}; nothing in it is typed by hand. A study is declared in `src/tetriserve/evaluation/study.py`;
`scripts/evaluate --study NAME` runs what is missing of it and writes this page anew.

How it is measured: `tetriserve serve` is started once for each policy, a peer once for each degree. Requests arrive
by Poisson at their own times, whatever became of those before (open loop), the same for all contenders of a mix and
load. A request is on time if its whole answer has reached the client by its deadline, counted from the intended
start. Loads are shares of capacity: the images a minute that all devices would make if they were always busy at
degree 1, encoding and decoding included, by the profile that the first server measures. Policies that don't look at
deadlines (`fixed-*`, `rssp`) and peers run once and are judged at every scale. Answers are JPEG files: random weights
draw noise, of which a PNG takes longer to write than any real image's. Peers serve first come first served, each
image at one fixed degree: `xdit-spN` is xDiT's transformer in diffusers' FluxPipeline, as its own runner has it, with
the devices in groups of N.
"""
DEADLINES = {
    "the paper's": "the paper's (1.5, 2, 3, 5 s at 256² to 2048²)",
    "like the paper's": "in the same relation to the fastest possible image here as the paper's are to its fastest on "
    "8 GPUs (of the eager profile of FLUX.1-dev at 28 steps, whose degrees 4 and 8 are extrapolated)",
    "twice the fastest": "twice the fastest possible time of the size on this machine",
}


def write_page(root: Path, page: Path, studies: Sequence[Study] = STUDIES) -> None:
    """Write page and charts; these go to a folder `charts` in `root`. Raises ConfigurationError."""
    parts = [INTRODUCTION.format(results=f"`{root}`")]
    for study in studies:
        for results in Results.all(root, study.name):
            parts += _study(study, results, root, page)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(parts), encoding="utf-8")


def _study(study: Study, results: Results, root: Path, page: Path) -> Iterator[str]:
    found = [document for id_ in results.cell_ids() if (document := results.read(id_)) is not None]
    if not found:
        return
    yield f"## {study.name}: {_most(found, 'machine')}\n"
    yield _about(study, found)
    for grid in grids(study, results):
        if grid.documents:
            yield from _model(grid)
            prefix = f"{study.name}-{results.directory.name}-{grid.model.rpartition(':')[2].rpartition('/')[2]}"
            for path in draw(grid, root / "charts", prefix):
                yield f"![{path.stem}]({os.path.relpath(path, page.parent)})\n"
    equality = equality_table(study, results)
    if equality is not None:
        yield "### Images against diffusers\n"
        yield _about_equality(study)
        yield equality
    yield from _missing(study, results)


def _about(study: Study, found: Sequence[dict[str, Any]]) -> str:
    libraries = Counter(
        ", ".join(f"{name} {version}" for name, version in document["libraries"].items() if version)
        for document in found
    )
    days = sorted({document["measured_on"] for document in found})
    commits = sorted({document["commit"] or "unknown" for document in found})
    return (
        f"`scripts/evaluate --study {study.name}`: {study.num_steps} steps an image, {study.num_requests} requests a "
        f"cell, "
        f"seed {study.seed}, devices `{study.devices}`. Deadlines at scale 1.0 are {DEADLINES[study.deadlines]}. "
        f"Measured {days[0]}{f' to {days[-1]}' if days[-1] != days[0] else ''} with {libraries.most_common(1)[0][0]}; "
        f"commits {', '.join(commits)}.\n"
    )


def _about_equality(study: Study) -> str:
    wanted = study.equality
    assert wanted is not None
    return (
        f"{wanted.num_images} images of the model `{wanted.model}`, {wanted.num_steps} steps, served at {wanted.load} "
        f"of capacity by `{wanted.policy}`, against diffusers alone on one device with the same prompt and seed. For "
        "scale: what diffusers does to the same images when it makes them in a batch, or with attention as plain "
        "products and softmax.\n"
    )


def _model(grid: Grid) -> Iterator[str]:
    scales = " / ".join(f"{scale:g}" for scale in grid.study.scales)
    first = f"{grid.study.scales[0]:g}"
    yield f"### `{grid.model}`\n"
    yield _loads(grid)
    yield (
        f"Share on time at scales {scales}. The last row is what no schedule exceeds that knows all beforehand, if "
        "steps take what the profile says ([how](scheduling.md#the-bound)):\n"
    )
    yield attainment(grid)
    for column in grid.columns:
        if any(grid.report(name, column, scale) for name in grid.contenders for scale in grid.study.scales):
            yield f"By size, {heading(column)}, at scales {scales}:\n"
            yield attainment_by_size(grid, column)
    yield f"Latency at scale {first}: mean, 99th percentile (s):\n"
    yield latency(grid)
    yield f"GPU seconds an image, and share of GPU time in use, at scale {first}:\n"
    yield cost(grid)
    yield f"Scheduling at scale {first}:\n"
    yield scheduling(grid)
    both = pairs(grid)
    if both:
        yield "**Simulated from the measured profile, against served.** " + verdict(both)
        yield fidelity_table(both)
        yield fidelity_by_size(grid, both)


def _loads(grid: Grid) -> str:
    """Rates, and the deadlines of the first cell at the first scale."""
    rows, slo_s = [], {}
    for column in grid.columns:
        documents = (grid.document(name, column, grid.study.scales[0]) for name in grid.contenders)
        document = next((one for one in documents if one is not None), None)
        if document is not None:
            load, slo_s = document["load"], document["slo_s"]
            rows.append([heading(column), number(load["rate_per_min"], 1), number(load["capacity_per_min"], 1)])
    deadlines = ", ".join(f"{seconds:.2f} s at {size}" for size, seconds in slo_s.items())
    scale = f"{grid.study.scales[0]:g}"
    return f"Deadlines at scale {scale}: {deadlines}.\n\n" + table(["", "requests a minute", "capacity"], rows)


def _missing(study: Study, results: Results) -> Iterator[str]:
    """What is not there, and why."""
    tasks = [task for group in groups_of(study) for task in group.tasks]
    failed, pending = [], []
    for task in tasks:
        document = results.read(task.id)
        if document is None:
            pending.append(task.id)
        elif document["status"] != DONE:
            reason = document["error"].strip().splitlines()[-1]
            failed.append(f"- `{task.id}` failed {document['attempts']} times: {reason[:200]}")
    yield f"{len(tasks) - len(failed) - len(pending)} of {len(tasks)} measurements are done.\n"
    if failed:
        yield "\n".join(failed) + "\n"
    if pending:
        contenders = Counter("/".join(task_id.split("/")[:2]) for task_id in pending)
        counts = (f"`{name}` {count}" for name, count in contenders.items())
        yield f"Not run yet (`tetriserve evaluate list` names each): {', '.join(counts)}.\n"


def _most(found: Sequence[dict[str, Any]], key: str) -> str:
    return str(Counter(document[key] for document in found).most_common(1)[0][0])
