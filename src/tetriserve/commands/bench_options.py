"""From the options of `bench` to a target and a load."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tetriserve.bench.target import Target
from tetriserve.commands.workload import made_or_csv_workload
from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.cost.deadline import interpolate_slo_s
from tetriserve.runtime.config import read_slo_table
from tetriserve.workload.trace import TraceEntry, read_trace

KEY_VARIABLE = "OPENAI_API_KEY"


def make_target(args: argparse.Namespace) -> Target:
    """The server and how it is asked. Raises ConfigurationError."""
    for flag, value, least in (("--warm-up", args.warm_up, 0), ("--max-connections", args.max_connections, 1)):
        if value < least:
            raise ConfigurationError(f"{flag} {value}: must be at least {least}")
    for flag, seconds, possible in (
        ("--timeout-s", args.timeout_s, 0 < args.timeout_s < float("inf")),
        ("--wait-s", args.wait_s, 0 <= args.wait_s < float("inf")),
    ):
        if not possible:
            raise ConfigurationError(f"{flag} {seconds:g}: must be a positive number of seconds")
    return Target(
        base_url=_base_url(args.url),
        model=args.model,
        api_key=_api_key(args.api_key_file),
        extra=_extra_body(args.extra_body),
        max_connections=args.max_connections,
        timeout_s=args.timeout_s,
        send_slo=not args.no_slo,
    )


def make_entries(args: argparse.Namespace) -> tuple[TraceEntry, ...]:
    """A trace, or a made-up load, or a CSV file's arrivals; with the deadlines of --slo. Raises ConfigurationError."""
    entries = made_or_csv_workload(args) if args.trace is None else read_trace(args.trace)
    if args.slo is None:
        return entries
    try:
        table = read_slo_table(args.slo)
    except (ValueError, InvalidRequestError) as error:
        raise ConfigurationError(f"--slo {args.slo!r}: {error}") from error
    return tuple(replace(one, slo_s=args.slo_scale * interpolate_slo_s(one.size, table)) for one in entries)


def _base_url(text: str) -> str:
    """As clients of OpenAI write it, too: with /v1."""
    if not text.startswith(("http://", "https://")):
        raise ConfigurationError(f"--url {text!r}: must begin with http:// or https://")
    return text.rstrip("/").removesuffix("/v1")


def _api_key(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get(KEY_VARIABLE)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--api-key-file {path}: cannot read: {error}") from error


def _extra_body(text: str | None) -> dict[str, Any]:
    try:
        extra = json.loads(text or "{}")
    except ValueError as error:
        raise ConfigurationError(f"--extra-body {text!r}: not JSON: {error}") from error
    if not isinstance(extra, dict):
        raise ConfigurationError(f"--extra-body {text!r}: must be an object")
    return extra
