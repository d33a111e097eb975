"""Runs the cells of a sweep on several cores and keeps a journal, so that a sweep can go on where it was stopped."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.sim.sweep import Cell, Row, SweepConfig, run_cell

OnRow = Callable[[int, int, str], None]
"""Told (done, total, what)."""


def run_cells(
    config: SweepConfig, cells: Sequence[Cell], num_processes: int, journal: Path | None, on_row: OnRow
) -> Iterator[Row]:
    """Rows in the order in which they end; those that the journal holds come first."""
    done = _read(journal, config, set(cells)) if journal is not None else {}
    yield from done.values()
    todo = [cell for cell in cells if cell not in done]
    run = partial(_run_serially, config) if num_processes == 1 else partial(_run_in_pool, config, num_processes)
    for count, (cell, row) in enumerate(run(todo), start=len(done) + 1):
        if journal is not None:
            _append(journal, config, row)
        on_row(count, len(cells), f"{cell.mix} {cell.rate_per_min:g}/min x{cell.slo_scale:g} {cell.policy}")
        yield row


def _run_serially(config: SweepConfig, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Row]]:
    return ((cell, run_cell(config, cell)) for cell in cells)


def _run_in_pool(config: SweepConfig, num_processes: int, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Row]]:
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, config, cell): cell for cell in cells}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(journal: Path, config: SweepConfig, wanted: set[Cell]) -> dict[Cell, Row]:
    """Rows of an earlier, stopped sweep of the same configuration. A line cut off in the middle is dropped."""
    if not journal.exists():
        return {}
    done: dict[Cell, Row] = {}
    for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            cell, row = Cell(**entry["cell"]), entry["row"]
            is_wanted = entry["config"] == config.key() and cell in wanted
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if is_wanted:
            done[cell] = row
    return done


def _append(journal: Path, config: SweepConfig, row: Row) -> None:
    cell = {name: row[name] for name in Cell.__dataclass_fields__}
    try:
        with journal.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps({"config": config.key(), "cell": cell, "row": row}))
    except OSError as error:
        raise ConfigurationError(f"{journal}: cannot write: {error}") from error
