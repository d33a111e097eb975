"""What needs no GPU: traces, profiles, and results that are compared, drawn, or gone on with."""

import gzip
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from fuzz.target import Target, as_json
from fuzz.text import as_text, words
from scheduler.builders import make_cost
from tetriserve.bench.reply import read_reply
from tetriserve.commands.bench_serve import compare
from tetriserve.commands.plot import draw, read_results
from tetriserve.core.size import Size
from tetriserve.cost.checks import check_profile
from tetriserve.cost.model import CostModel
from tetriserve.cost.profile import Profile
from tetriserve.evaluation.results import Results
from tetriserve.sim.parallel import run_cells
from tetriserve.sim.sweep import SweepConfig
from tetriserve.workload.csv_trace import CsvColumns, read_csv
from tetriserve.workload.generate import WorkloadConfig
from tetriserve.workload.mixes import parse_mix
from tetriserve.workload.trace import TraceEntry, read_trace, to_json_lines, write_trace

ENTRIES = (
    TraceEntry("r0", 0.0, 256, 256, 20, 1.5, "a red apple"),
    TraceEntry("r1", 0.5, 512, 256, 28, 2, "ein grüner Baum"),
)
CSV = """at,width,height,steps,prompt,task
2026-01-01T00:00:00,256,256,20,a red apple,image
2026-01-01 00:00:01+01:00,512,256.0,,"a blue, ""small"" fish",image
17,512,512,4,,video
"""
COLUMNS = CsvColumns("at", width="width", height="height", steps="steps", prompt="prompt", where={"task": "image"})
SIZES = (Size(256, 256), Size(512, 512))
SWEEP = SweepConfig("flux1-dev.h100", 2)
CELL = {"mix": "uniform", "rate_per_min": 12.0, "slo_scale": 1.0, "seed": 0, "policy": "default"}
PROFILE = replace(make_cost(2, 0.1, 0.2).profile, switch_s=0.01)
SUMMARY = {"sar": 0.5, "num_requests": 2, "num_failed": 0, "mean_latency_s": 1.0, "p50_latency_s": 1.0}
RESULTS: dict[str, Any] = {
    "config": {"gpus": 2},
    "runs": [{"policy": "default", **SUMMARY, "gpu_utilization": None, "by_size": {"256x256": SUMMARY}}],
    "schedules": [
        {
            "policy": "default",
            "requests": [
                {
                    "request_id": "r0",
                    "size": "256x256",
                    "arrival_s": 0.0,
                    "deadline_s": 1.5,
                    "finished_s": 1.0,
                    "met_deadline": True,
                    "gpu_seconds": 1.0,
                    "degrees": [1, 2],
                    "error": None,
                }
            ],
            "chunks": [
                {
                    "stage": "denoise",
                    "request_ids": ["r0"],
                    "devices": [0, 1],
                    "num_steps": 2,
                    "started_s": 0.1,
                    "finished_s": 0.9,
                }
            ],
        }
    ],
}


def read_workload(data: bytes, folder: Path) -> None:
    """What is read can be written, and read again as the same."""
    path = folder / "trace.jsonl"
    path.write_bytes(data)
    entries = read_trace(path)
    for entry in entries:
        entry.to_request()
    _same_again(path, entries)


def read_columns(data: bytes, folder: Path) -> None:
    path = folder / "rows.csv"
    path.write_bytes(data)
    _same_again(path, read_csv(path, COLUMNS, WorkloadConfig({SIZES[0]: 1.0}), lambda size: 1.5))


def _same_again(path: Path, entries: tuple[TraceEntry, ...]) -> None:
    write_trace(path, entries)
    if sorted(map(str, read_trace(path))) != sorted(map(str, entries)):
        raise AssertionError("read back as something else")


def read_profile(data: bytes, folder: Path) -> None:
    path = folder / "profile.json"
    path.write_bytes(data)
    profile = Profile.load(path)
    check_profile(profile, SIZES, 2, str(path))
    profile.to_json().encode()
    cost = CostModel(profile, 2)
    for size in SIZES:
        if not cost.solo_s(size, 28) > 0:
            raise AssertionError(f"an image takes {cost.solo_s(size, 28)} s")
        cost.solo_s(size, 28, 2)


def read_sweep(data: bytes, folder: Path) -> None:
    path = folder / "sweep.jsonl"
    path.write_bytes(data)
    list(run_cells(SWEEP, (), 1, path, lambda done, total, what: None))


def read_cell(data: bytes, folder: Path) -> None:
    (folder / "cell.json.gz").write_bytes(data)
    Results(folder).status("cell")


def read_answer(data: bytes, _: Path) -> None:
    reply = read_reply(ENTRIES[0], (1.0, 0.0), 200 if len(data) % 4 else 500, data)
    json.dumps(asdict(reply.entry)), reply.outcome(), reply.met_deadline


def compare_results(data: bytes, folder: Path) -> None:
    first, second = folder / "first.json", folder / "second.json"
    first.write_bytes(as_json(RESULTS))
    second.write_bytes(data)
    compare(Console(quiet=True), [first, second])


def draw_results(data: bytes, folder: Path) -> None:
    path = folder / "results.json"
    path.write_bytes(data)
    draw(Console(quiet=True), path, read_results(path), folder, "svg")


def read_mix(data: bytes, _: Path) -> None:
    parse_mix(data.decode("utf-8", "surrogateescape"), SIZES)


def as_lines(document: Any) -> bytes:
    rows = document if isinstance(document, list) else [document]
    return b"\n".join(as_json(row) for row in rows)


def as_zipped(document: Any) -> bytes:
    return gzip.compress(as_json(document), 1)


TARGETS = (
    Target("trace", read_workload, ([json.loads(line) for line in to_json_lines(ENTRIES).splitlines()],), as_lines),
    Target("CSV trace", read_columns, (words(CSV),), as_text),
    Target("mix", read_mix, (words("256x256=1,512=2.5"), words("homogeneous:1024"), ["uniform"]), as_text),
    Target("profile", read_profile, (json.loads(PROFILE.to_json()),)),
    Target("sweep's journal", read_sweep, ([{"config": SWEEP.key(), "cell": CELL, "row": {"sar": 1.0}}],), as_lines),
    Target("evaluation's cell", read_cell, ({"status": "done", "runs": []},), as_zipped),
    Target("server's answer", read_answer, ({"data": [{"b64_json": "aa"}], "tetriserve": {"degrees": [1]}},)),
    Target("results to compare", compare_results, (RESULTS,), share=0.3),
    Target("results to draw", draw_results, (RESULTS,), share=0.03),
)
