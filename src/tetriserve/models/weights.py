"""Loads large modules without ever holding a second copy of them, or more than one file of them on the host."""

import json
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file

from tetriserve.core.errors import ConfigurationError

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


def load_module(model_class: Any, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module of a diffusers `model_class` in eval mode, its weights moved to `device` shard by shard.

    On CPUs the weights are the mapped files themselves, of which all workers share one copy. Raises ConfigurationError
    if the files lack a weight or hold one of another shape.
    """
    module = empty_module(model_class, directory)
    for shard in _shards(directory):
        weights = {name: x.to(dtype) for name, x in load_file(shard, device=str(device)).items()}
        try:
            module.load_state_dict(weights, strict=False, assign=True)
        except RuntimeError as error:
            raise ConfigurationError(f"{shard} does not fit the module: {error}") from error
    missing = [name for name, x in module.state_dict().items() if x.is_meta]
    if missing:
        raise ConfigurationError(f"{directory} lacks {len(missing)} weights, the first is {missing[0]}")
    return module.requires_grad_(False).eval()


def empty_module(model_class: Any, directory: Path) -> Any:
    """A module of a diffusers class as its configuration describes it, without any storage."""
    with torch.device("meta"):
        return model_class.from_config(model_class.load_config(directory))


def empty_encoder(model_class: Any, directory: Path) -> Any:
    """A module of a transformers class without storage for its weights; other buffers are computed."""
    config = model_class.config_class.from_pretrained(directory)
    with init_empty_weights(include_buffers=False):
        module = model_class(config)
    module.tie_weights()
    return module


def load_encoder(model_class: Any, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module of a transformers `model_class` in eval mode, its weights moved to `device` tensor by tensor.

    Raises ConfigurationError if the files lack a weight.
    """
    placing = {} if device.type == "cpu" else {"device_map": {"": device}}
    module, found = model_class.from_pretrained(
        directory, dtype=dtype, local_files_only=True, output_loading_info=True, **placing
    )
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise ConfigurationError(f"{directory} lacks {len(missing)} weights, the first is {missing[0]}")
    return module.requires_grad_(False).eval()


def _shards(directory: Path) -> list[Path]:
    """The safetensors files of a module, of which large ones have several and an index."""
    index = directory / f"{WEIGHTS_FILE}.index.json"
    if not index.is_file():
        shards = [directory / WEIGHTS_FILE]
    else:
        names: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = [directory / name for name in sorted(set(names.values()))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise ConfigurationError(
            f"{directory} lacks {len(missing)} of {len(shards)} weight files: {', '.join(missing)}"
        )
    return shards
