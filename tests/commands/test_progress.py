import io

from rich.console import Console

from tetriserve.commands.progress import progress_bar


def test_notices_stay_where_no_bar_is_drawn() -> None:
    output = io.StringIO()
    with progress_bar(Console(file=output), "Starting") as progress:
        progress(0, 1, "loading transformer")
        progress(0, 0, "flux needs 36.7 of 79.1 GiB here")
    assert output.getvalue() == "flux needs 36.7 of 79.1 GiB here\n"
