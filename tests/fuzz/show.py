"""How a run is shown: a bar while it goes on, a line for every job that is over, a table in the end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fuzz.findings import Findings
from fuzz.jobs import Running


@contextmanager
def progress(console: Console, total: int) -> Iterator[Callable[[Sequence[Running]], None]]:
    """Draws without a thread, because this process forks others."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("[dim]{task.description}"))
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as bar:
        task, told = bar.add_task("", total=total), set[int]()

        def show(begun: Sequence[Running]) -> None:
            for one in begun:
                if one.ended_s is not None and id(one) not in told:
                    told.add(id(one))
                    line = f"{one.job.name}, {one.job.part}: {one.count:,} cases in {one.seconds:.0f} s"
                    console.print(line, highlight=False, markup=False, soft_wrap=True)
            names = " | ".join(f"{one.job.name}, {one.job.part}" for one in begun if one.ended_s is None)
            bar.update(task, completed=sum(one.count for one in begun), description=names, refresh=True)

        yield show


def table(begun: Sequence[Running], findings: Findings) -> Table:
    """A row for every target, its parts together, and one for all. Seconds are of its processes, not of the wall."""
    shown = Table(show_footer=True)
    rows = [(name, tuple(jobs)) for name, jobs in groupby(begun, key=lambda one: one.job.name)]
    numbers = [
        (name, sum(one.count for one in jobs), sum(one.seconds for one in jobs), findings.of(name))
        for name, jobs in rows
    ]
    _, cases, seconds, found = zip(*numbers, strict=True)
    shown.add_column("target", f"{len(rows)} targets", overflow="fold")
    shown.add_column("cases", f"{sum(cases):,}", justify="right", no_wrap=True)
    shown.add_column("seconds", f"{sum(seconds):,.0f}", justify="right", no_wrap=True)
    shown.add_column("findings", str(sum(found)), justify="right", no_wrap=True)
    for name, count, spent_s, num_found in numbers:
        shown.add_row(name, f"{count:,}", f"{spent_s:,.0f}", str(num_found), style="red" if num_found else "")
    return shown
