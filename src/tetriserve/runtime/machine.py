"""What this machine calls its devices: part of every measurement's provenance."""

import os
import platform
import subprocess
from pathlib import Path


def device_name(devices: tuple[str, ...]) -> str:
    """The model of GPU, or of CPU with the number of workers that share its cores."""
    if devices[0] != "cpu":
        return _gpu_name()
    return f"{_cpu_name()}, {len(os.sched_getaffinity(0))} cores for {len(devices)} workers"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu_name() -> str:
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        run = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "GPU of unknown name"
    return run.stdout.splitlines()[0].strip()
