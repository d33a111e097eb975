"""`tetriserve workload`."""

import argparse
import sys

from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.deadline import PAPER_SLO_S, published_slo_s
from tetriserve.workload.csv_trace import CsvColumns, read_csv
from tetriserve.workload.generate import WorkloadConfig, generate
from tetriserve.workload.mixes import parse_mix
from tetriserve.workload.trace import TraceEntry, to_json_lines, write_trace

DEFAULT_RATE_PER_MIN = 12.0
DEFAULT_NUM_REQUESTS = 300
ALL = sys.maxsize


def run(args: argparse.Namespace) -> None:
    """Write the trace."""
    entries = made_or_csv_workload(args)
    if args.out is None:
        sys.stdout.write(to_json_lines(entries))
        return
    try:
        write_trace(args.out, entries)
    except OSError as error:
        raise ConfigurationError(f"--out {args.out}: cannot write: {error}") from error


def made_or_csv_workload(args: argparse.Namespace) -> tuple[TraceEntry, ...]:
    """Made up, or with the arrivals of a CSV file. Raises ConfigurationError."""
    return make_workload(args) if args.csv is None else _from_csv(args)


def make_workload(args: argparse.Namespace) -> tuple[TraceEntry, ...]:
    """The entries that the workload options describe. Raises ConfigurationError."""
    rate_per_min = DEFAULT_RATE_PER_MIN if args.rate is None else args.rate
    num_requests = DEFAULT_NUM_REQUESTS if args.num_requests is None else args.num_requests
    return generate(_config(args, num_requests, rate_per_min), lambda size: published_slo_s(size, args.slo_scale))


def _config(args: argparse.Namespace, num_requests: int, rate_per_min: float) -> WorkloadConfig:
    mix = parse_mix(args.mix, tuple(PAPER_SLO_S))
    return WorkloadConfig(mix, num_requests, args.arrivals, rate_per_min, args.steps, args.seed)


def _from_csv(args: argparse.Namespace) -> tuple[TraceEntry, ...]:
    num_requests = ALL if args.num_requests is None else args.num_requests
    config = _config(args, num_requests, args.rate or DEFAULT_RATE_PER_MIN)
    columns = CsvColumns(
        arrival=args.arrival_column,
        unit=args.time_unit,
        size=args.size_column,
        width=args.width_column,
        height=args.height_column,
        steps=args.steps_column,
        prompt=args.prompt_column,
        where=dict(_condition(text) for text in args.where),
    )
    return read_csv(args.csv, columns, config, lambda size: published_slo_s(size, args.slo_scale), args.rate)


def _condition(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigurationError(f"--where {text!r}: must be NAME=VALUE")
    return name, value
