"""The page says what the files say. These are made by the simulator instead of a server, which no reader can tell."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tetriserve.bound.solve import hindsight_bound
from tetriserve.cost.model import CostModel
from tetriserve.evaluation.report.markdown import bold, share
from tetriserve.evaluation.report.page import write_page
from tetriserve.evaluation.results import DONE, FAILED, Results
from tetriserve.evaluation.simulated import simulate_cell
from tetriserve.evaluation.study import Cell, Study, cells_of
from tetriserve.evaluation.workload import make_trace
from tetriserve.workload.trace import TraceEntry

ABOUT = {"machine": "two devices", "libraries": {"torch": "2.11"}, "commit": "abc", "measured_on": "2026-11-25"}
LATE_S = 100.0


def document(study: Study, cell: Cell, cost: CostModel) -> dict[str, Any]:
    """As simulated, save that the first request took much longer."""
    trace = make_trace(study, cell, cost, 2)
    simulated = simulate_cell(cost, trace, cell.contender, 2, study.sizes)
    rows = [_row(entry, simulated["latency_s"][entry.request_id]) for entry in trace]
    rows[0]["latency_s"] = rows[0]["engine_latency_s"] = LATE_S
    first = rows[0]["request_id"]
    chunk = {"stage": "denoise", "request_ids": [first], "devices": [0], "num_steps": 1, "state": "done"}
    return {
        "id": cell.id,
        "status": DONE,
        "attempts": 1,
        **ABOUT,
        "cell": asdict(cell),
        "load": {"rate_per_min": 9.0, "capacity_per_min": 10.0, "num_devices": 2},
        "slo_s": {str(entry.size): entry.slo_s for entry in trace},
        "run": {"decision_ms": {"p50": 0.25, "p99": 1.0}},
        "requests": rows,
        "chunks": [{**chunk, "started_s": 0.0, "finished_s": 0.1}],
        "simulated": simulated,
    }


def _row(entry: TraceEntry, latency_s: float) -> dict[str, Any]:
    return {
        "request_id": entry.request_id,
        "size": str(entry.size),
        "num_steps": entry.num_inference_steps,
        "arrival_s": entry.arrival_s,
        "slo_s": entry.slo_s,
        "latency_s": latency_s,
        "engine_latency_s": latency_s,
        "queue_s": 0.0,
        "gpu_seconds": 1.0,
        "degrees": [1],
        "error_code": None,
        "error": None,
    }


@pytest.fixture(scope="module")
def page(plain_study: Study, cost: CostModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluation")
    results = Results.of(root, plain_study.name, "two devices")
    results.keep_profile("random:flux1-dev", cost.profile)
    for cell in cells_of(plain_study):
        if cell.contender == "fixed-sp1" or cell.scale == 1.0:
            results.write(cell.id, document(plain_study, cell, cost))
        elif cell.is_peer:
            failure = {"status": FAILED, "error": "EngineError: no\nModuleNotFoundError: xfuser", "attempts": 2}
            results.write(cell.id, {"id": cell.id, **ABOUT, **failure})
    page = root / "page.md"
    write_page(root, page, [plain_study])
    return page


def test_shares_on_time_are_counted_from_the_files(page: Path, plain_study: Study, cost: CostModel) -> None:
    text = page.read_text()
    for cell in cells_of(plain_study):
        if cell.contender != "fixed-sp1":
            continue
        found = document(plain_study, cell, cost)["requests"]
        on_time = [sum(row["latency_s"] <= scale * row["slo_s"] for row in found) / len(found) for scale in (1.0, 2.0)]
        line = next(line for line in text.splitlines() if line.startswith("| `fixed-sp1`"))
        assert line.replace("*", "") == f"| `fixed-sp1` | {share(on_time[0])} / {share(on_time[1])} |"


def test_what_is_missing_and_what_failed_is_told(page: Path) -> None:
    text = page.read_text()
    assert "2 of 4 measurements are done" in text
    assert "`flux1-dev/xdit-sp2/uniform/90pct/any` failed 2 times: ModuleNotFoundError: xfuser" in text
    assert "Not run yet (`tetriserve evaluate list` names each): `flux1-dev/default` 1." in text
    assert "| `xdit-sp2` | - |" in text


def test_served_and_simulated_stand_side_by_side(page: Path) -> None:
    """One request of twenty is late that wasn't in the simulation."""
    (row,) = (line for line in page.read_text().splitlines() if line.startswith("| `default`, uniform 90 % | 1 |"))
    cells = [cell.strip() for cell in row.split("|")]
    served, simulated, difference = (float(cells[index]) for index in (3, 5, 6))
    assert simulated - served == pytest.approx(0.05)
    assert difference == pytest.approx(-5.0)


def test_the_last_row_is_what_no_schedule_exceeds(page: Path, plain_study: Study, cost: CostModel) -> None:
    cell = cells_of(plain_study)[0]
    trace = make_trace(plain_study, cell, cost, 2)
    bounds = [
        hindsight_bound(cost, [replace(entry, slo_s=scale * entry.slo_s).to_request() for entry in trace], 2).sar
        for scale in plain_study.scales
    ]
    row = next(line for line in page.read_text().splitlines() if line.startswith("| no schedule"))
    assert row == f"| no schedule, the future known | {share(bounds[0])} / {share(bounds[1])} |"


def test_charts_are_where_the_page_looks_for_them(page: Path) -> None:
    links = [line.partition("](")[2].rstrip(")") for line in page.read_text().splitlines() if line.startswith("![")]
    assert {Path(link).stem.rpartition("flux1-dev-")[2] for link in links} == {
        "sar",
        "latency-uniform-90-pct",
        "degrees-uniform-90-pct",
        "schedule-uniform-90-pct",
    }
    assert all((page.parent / link).is_file() for link in links)


def test_the_best_is_bold() -> None:
    assert bold([0.5, None, 1.0, 0.25]) == [".50", "-", "**1.00**", ".25"]
