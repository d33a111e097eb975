"""From parsed options to configurations."""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR, ServingConfig, parse_sizes, parse_slo_table


def check_writable(path: Path) -> None:
    """Raises ConfigurationError if a file can't be put there."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigurationError(f"--out {path}: not a file in a directory that can be written to")


def model_dir(args: argparse.Namespace) -> Path:
    """The model to load."""
    return EMBEDDED_MODEL_DIR if args.model is None else Path(args.model)


def engine_config(args: argparse.Namespace) -> ServingConfig:
    """For commands that only run the engine. Raises ConfigurationError."""
    sizes = None if args.sizes is None else parse_sizes(args.sizes)
    return ServingConfig(model_dir(args), args.devices, args.dtype, sizes=sizes)


def serving_config(args: argparse.Namespace) -> ServingConfig:
    """For commands that serve. Raises ConfigurationError."""
    if args.round_s is not None and args.policy != "tetriserve":
        raise ConfigurationError(f"--round-s {args.round_s:g}: policy {args.policy} has no rounds; tetriserve has")
    config = replace(engine_config(args), policy=args.policy, round_s=args.round_s, profile=args.profile)
    return config if args.slo is None else replace(config, slo_table=parse_slo_table(args.slo))
