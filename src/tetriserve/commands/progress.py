"""One progress bar for work whose stages are not known beforehand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress_bar(console: Console, title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on the terminal and the function (done, total, what) that moves it, or prints a `what` whose total is 0.

    It vanishes at the end, and is not drawn where the output goes to a file.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[what]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None, what="")

        def report(done: int, total: int, what: str) -> None:
            if total == 0:
                console.print(what, highlight=False, soft_wrap=True)
            else:
                progress.update(task, completed=done, total=total, what=what)

        yield report
