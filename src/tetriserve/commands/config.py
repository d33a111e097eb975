"""`tetriserve config`."""

import argparse
import sys

from tetriserve.commands.checks import checked
from tetriserve.commands.options import resolved
from tetriserve.configuration.declared import declared
from tetriserve.configuration.show import as_toml, reference
from tetriserve.configuration.tree import Configuration
from tetriserve.engine.devices import parse_devices


def run(args: argparse.Namespace) -> None:
    """Print what can be set at all, or the resolved configuration, if `serve` would not refuse it here.

    What shows only when something is opened or loaded is left to `serve`: how many GPUs there are, say.
    """
    if args.reference:
        sys.stdout.write(reference(declared(Configuration)))
        return
    made = resolved(args)
    _, num_devices = parse_devices(made.configuration.serving.devices)
    checked(made.configuration, num_devices)
    sys.stdout.write(as_toml(made.found))
