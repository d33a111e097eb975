"""Where a worker process begins. Importable without torch, because the parent names it."""

from multiprocessing.connection import Connection

PRELOAD_MODULE = "tetriserve.engine.preload"


def main(connection: Connection) -> None:
    """Run a worker on the other end of the parent's pipe."""
    from tetriserve.engine.preload import work  # noqa: PLC0415  (imports torch; the parent must not)

    work(connection)
