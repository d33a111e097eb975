"""The parser all commands share: one line about what is wrong, and the exit status 2."""

import argparse
import sys
from typing import NoReturn

from tetriserve.core.errors import one_line


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and exits with 2."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for every fault in what was typed."""
        fail(f"{message} (see {self.prog} --help)")


def fail(message: str, status: int = 2) -> NoReturn:
    """One line on stderr, then exit."""
    sys.stderr.write(f"tetriserve: {one_line(message)}\n")
    sys.exit(status)


Commands = argparse._SubParsersAction
