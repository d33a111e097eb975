"""`tetriserve config`."""

import argparse
import sys

from tetriserve.commands.options import resolved
from tetriserve.configuration.declared import declared
from tetriserve.configuration.show import as_toml, reference
from tetriserve.configuration.tree import Configuration


def run(args: argparse.Namespace) -> None:
    """Print the resolved configuration, or what can be set at all."""
    sys.stdout.write(reference(declared(Configuration)) if args.reference else as_toml(resolved(args).found))
