"""Which devices there are, found without torch: a server process that imports torch starts seconds later.

A device specification is `auto`, `cpu:N` (N workers on this machine's cores), `cuda` (every visible GPU) or `cuda:N`
(the first N). CUDA_VISIBLE_DEVICES chooses which GPUs those are.
"""

import os
import re
import subprocess
from pathlib import Path

from tetriserve.core.errors import ConfigurationError

DTYPES = ("float32", "bfloat16", "float16", "fp8")
"""fp8 is bfloat16 with the blocks' matrix products in 8 bits."""
DEFAULT_CPU_WORKERS = 2
MAX_DEVICES = 64


def parse_devices(spec: str) -> tuple[str, int | None]:
    """Kind and number; the number is None where only the hardware can tell it. Raises ConfigurationError."""
    match = re.fullmatch(r"(auto)|(cpu|cuda)(?::(\d{1,4}))?", spec.strip(), re.ASCII)
    if match is None or (match[2] == "cpu" and match[3] is None):
        raise ConfigurationError(f"devices {spec!r}: expected auto, cpu:N, cuda or cuda:N")
    count = int(match[3]) if match[3] else None
    if count is not None and not 1 <= count <= MAX_DEVICES:
        raise ConfigurationError(f"devices {spec!r}: the number must be from 1 to {MAX_DEVICES}")
    return match[1] or match[2], count


def resolve_devices(spec: str) -> tuple[str, ...]:
    """Torch names of the devices of `spec`, one for each worker. Raises ConfigurationError."""
    kind, count = parse_devices(spec)
    if kind == "cpu":
        return ("cpu",) * (count or 1)
    num_gpus = count_gpus()
    if kind == "auto" and num_gpus == 0:
        return ("cpu",) * DEFAULT_CPU_WORKERS
    if num_gpus < (count or 1):
        raise ConfigurationError(f"devices {spec!r}: {num_gpus} GPUs are visible")
    return tuple(f"cuda:{index}" for index in range(count or num_gpus))


def resolve_dtype(dtype: str, devices: tuple[str, ...]) -> str:
    """The number format to run in. Raises ConfigurationError."""
    if dtype == "auto":
        return "float32" if devices[0] == "cpu" else "bfloat16"
    if dtype not in DTYPES:
        raise ConfigurationError(f"dtype {dtype!r}: expected auto, {', '.join(DTYPES)}")
    return dtype


def threads_per_worker(devices: tuple[str, ...]) -> int:
    """Cores that one worker may keep busy."""
    return max(1, len(os.sched_getaffinity(0)) // len(devices))


def count_gpus() -> int:
    """Number of GPUs that CUDA would show."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = len([p for p in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]) or _count_by_smi()
    if visible is None or present == 0:
        return present
    names = [name.strip() for name in visible.split(",")]
    return len(names[: names.index("-1")] if "-1" in names else [name for name in names if name])


def _count_by_smi() -> int:
    """What nvidia-smi lists, for containers that name the device files otherwise."""
    try:
        run = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in run.stdout.splitlines())
