"""Whether a worker's device has room for the model, asked before anything is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tetriserve.core.size import Size
from tetriserve.engine.messages import Setup
from tetriserve.models.card import read_card
from tetriserve.models.memory import GIB, Choice, MemoryPlan
from tetriserve.models.model_size import model_size

NUMBER_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2, "fp8": 2}
"""Of the format that is not in 8 bits."""
CAPABILITY_OF_8_BITS = (8, 9)
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryCheck:
    """What the model takes and the device has, in words, if it is worth telling; whether to decode in tiles."""

    notice: str | None
    tiled: bool


def check_memory(setup: Setup, device: torch.device) -> MemoryCheck:
    """Raises ConfigurationError if the model can't fit.

    Weights that workers on CPUs share, because they are mapped files, are counted for each of them.
    """
    directory, is_gpu = Path(setup.model_dir), device.type == "cuda"
    card = read_card(directory)
    has_8_bits = is_gpu and torch.cuda.get_device_capability(device) >= CAPABILITY_OF_8_BITS
    model = model_size(directory, card, setup.loading)
    num_devices, cached_prompts = len(setup.devices), setup.loading.prompt_cache_mib * 2**20
    plan = MemoryPlan(model, card, is_gpu, has_8_bits, num_devices, setup.may_interrupt, cached_prompts)
    batches: dict[Size, int] = {}
    for size, batch in setup.cells:
        batches[size] = max(batch, batches.get(size, 0))
    choice = Choice(tuple(batches.items()), setup.loading.encoders, setup.dtype == "fp8", NUMBER_BYTES[setup.dtype])
    available = available_bytes(device, num_devices)
    choice = plan.fitted(choice, available)
    notice = plan.describe(choice, available) if plan.total(choice) >= GIB else None
    return MemoryCheck(notice, choice.tiled)


def available_bytes(device: torch.device, num_workers: int) -> int:
    """What is free on a GPU, or a worker's equal share of what is free on the host."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    fields = dict(line.split(":") for line in MEMINFO.read_text(encoding="utf-8").splitlines())
    return min(int(fields["MemAvailable"].split()[0]) * 1024, _left_in_container()) // num_workers


def _left_in_container() -> int:
    """What the limit of this control group leaves. No limit, no end."""
    try:
        limit, used = ((CGROUP / f"memory.{what}").read_text(encoding="utf-8").strip() for what in ("max", "current"))
    except OSError:
        return 2**62
    return 2**62 if limit == "max" else int(limit) - int(used)
