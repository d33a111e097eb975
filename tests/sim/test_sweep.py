"""Sweeps: complete, in order, the same on any number of processes, and resumable."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tetriserve.sim import parallel
from tetriserve.sim.parallel import run_cells
from tetriserve.sim.sweep import Cell, Grid, Row, SweepConfig, sweep

CONFIG = SweepConfig("flux1-dev.h100.eager", 8, num_requests=20, timing=False)
GRID = Grid(("rssp", "tetriserve"), ("uniform", "skewed"), (12.0, 24.0), (1.0,), (0, 1), ("bound", "hindsight"))


def silent(done: int, total: int, what: str) -> None:
    pass


def run(num_processes: int = 1, journal: Path | None = None, grid: Grid = GRID) -> dict:  # type: ignore[type-arg]
    def run_all(config: SweepConfig, cells: Sequence[Cell]) -> Iterator[Row]:
        return run_cells(config, cells, num_processes, journal, silent)

    return sweep(CONFIG, grid, run_all)


def test_every_combination_is_run_in_the_order_of_the_grid() -> None:
    document = run()
    assert list(document) == ["runs", "bounds", "means", "config"]
    assert len(document["runs"]) == len(document["bounds"]) == 16
    assert [(row["mix"], row["rate_per_min"], row["seed"]) for row in document["runs"][:4:2]] == [
        ("uniform", 12.0, 0),
        ("uniform", 12.0, 1),
    ]
    assert len(document["means"]) == 4 * 4


def test_means_are_over_seeds_and_as_shares_of_the_bounds() -> None:
    document = run()
    means = {row["policy"]: row for row in document["means"] if (row["mix"], row["rate_per_min"]) == ("skewed", 24.0)}
    runs = [
        row for row in document["runs"] if (row["policy"], row["mix"], row["rate_per_min"]) == ("rssp", "skewed", 24.0)
    ]
    sars = [row["sar"] for row in runs]
    gpu_s = sum(row["gpu_seconds_per_image"] * row["num_requests"] for row in runs)
    on_time = sum(row["sar"] * row["num_requests"] for row in runs)
    assert means["rssp"]["gpu_s_per_on_time_image"] == pytest.approx(gpu_s / on_time)
    assert "gpu_s_per_on_time_image" not in means["bound"]
    assert means["rssp"]["sar"] == pytest.approx(sum(sars) / 2)
    assert means["rssp"]["of_bound"] == pytest.approx(means["rssp"]["sar"] / means["bound"]["sar"])
    assert means["bound"]["of_bound"] == 1.0
    assert all(row["sar"] <= means["hindsight"]["sar"] <= means["bound"]["sar"] for row in (means["rssp"],))


def test_processes_change_nothing() -> None:
    grid = Grid(("rssp",), ("uniform",), (12.0,), (1.0,), (0, 1, 2))
    assert run(2, grid=grid) == run(1, grid=grid)


def test_a_stopped_sweep_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, cells = tmp_path / "journal", list(GRID.cells())
    rows = run_cells(CONFIG, cells, 1, journal, silent)
    first = [next(rows) for _ in range(5)]
    journal.write_text(journal.read_text() + '\n{"config": "cut o')
    ran: list[Cell] = []
    original = parallel.run_cell
    monkeypatch.setattr(parallel, "run_cell", lambda config, cell: ran.append(cell) or original(config, cell))
    resumed = list(run_cells(CONFIG, cells, 1, journal, silent))
    assert resumed[:5] == first
    assert len(ran) == len(cells) - 5
    other = SweepConfig("flux1-dev.h100.eager", 4, num_requests=20)
    next(run_cells(other, cells, 1, journal, silent))
    assert len(ran) == len(cells) - 4, "another configuration begins anew"


@pytest.mark.parametrize("line", [b"[]", b"\xff", b"[" * 100_000, b'{"cell": {}}', b'{"config": "x"}'])
def test_lines_of_a_journal_that_mean_nothing_are_dropped(tmp_path: Path, line: bytes) -> None:
    journal = tmp_path / "sweep.jsonl"
    journal.write_bytes(line)
    assert list(run_cells(SweepConfig("flux1-dev.h100", 2), (), 1, journal, silent)) == []
