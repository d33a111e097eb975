"""What results were measured on: part of every file."""

import importlib.metadata
import platform
import subprocess
import time
from typing import Any

from tetriserve.engine.devices import resolve_devices
from tetriserve.runtime.machine import cpu_name

LIBRARIES = ("torch", "diffusers", "transformers", "xfuser")


def machine_name(devices: str) -> str:
    """Like `2 x NVIDIA H100 80GB HBM3`. Raises ConfigurationError if the devices are not there."""
    found = resolve_devices(devices)
    return cpu_name(len(found)) if found[0] == "cpu" else f"{len(found)} x {_said('nvidia-smi', *QUERY) or 'GPU'}"


QUERY = ("--query-gpu=name", "--format=csv,noheader", "--id=0")


def provenance(devices: str) -> dict[str, Any]:
    """Machine, versions, commit and day."""
    return {
        "machine": machine_name(devices),
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "commit": _said("git", "describe", "--always", "--dirty", "--abbrev=12"),
        "measured_on": time.strftime("%Y-%m-%d"),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _said(*command: str) -> str | None:
    """What a command prints; None if there is no such command or it fails."""
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip() or None
