"""What a CPU is called: part of every measurement's provenance."""

import os
import platform
from pathlib import Path


def cpu_name(num_workers: int) -> str:
    """The model of CPU, and how many workers share how many of its cores: both decide how long a step takes."""
    return f"{_model_name()}, {num_workers} workers on {len(os.sched_getaffinity(0))} cores"


def _model_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
