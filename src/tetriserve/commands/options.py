"""From parsed options to configurations."""

import argparse
from dataclasses import replace
from pathlib import Path

from tetriserve.runtime.config import EMBEDDED_MODEL_DIR, ServingConfig, parse_sizes, parse_slo_table


def model_dir(args: argparse.Namespace) -> Path:
    """The model to load."""
    return EMBEDDED_MODEL_DIR if args.model is None else Path(args.model)


def engine_config(args: argparse.Namespace) -> ServingConfig:
    """For commands that only run the engine. Raises ConfigurationError."""
    sizes = None if args.sizes is None else parse_sizes(args.sizes)
    return ServingConfig(model_dir(args), args.devices, args.dtype, sizes=sizes)


def serving_config(args: argparse.Namespace) -> ServingConfig:
    """For commands that serve. Raises ConfigurationError."""
    config = replace(engine_config(args), policy=args.policy, round_s=args.round_s, profile=args.profile)
    return config if args.slo is None else replace(config, slo_table=parse_slo_table(args.slo))
