"""From parsed options to configurations."""

import argparse
import logging
import os
from pathlib import Path

from tetriserve.configuration.resolve import Resolved, nearest, resolve
from tetriserve.configuration.tree import Configuration
from tetriserve.core.errors import ConfigurationError
from tetriserve.runtime.config import ServingConfig

logger = logging.getLogger(__name__)


def check_writable(path: Path) -> None:
    """Raises ConfigurationError if a file can't be put there."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"--out {path}: not a file in a directory that can be written to")


def resolved(args: argparse.Namespace) -> Resolved[Configuration]:
    """What flags, environment and file say together. Raises ConfigurationError."""
    made = resolve(Configuration(), vars(args))
    variables = [one.setting.variable for one in made.found]
    for name in made.strange_variables:
        logger.warning("the environment has %s, which is no setting%s", name, nearest(name, variables))
    return made


def serving_config(args: argparse.Namespace) -> ServingConfig:
    """For commands that run a model, which may be downloaded; what a command has no flag for is read all the same.

    Raises ConfigurationError.
    """
    return resolved(args).configuration.serving.fetched()
