"""Loads large modules without ever holding a second copy of them, or more than one file of them on the host."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from safetensors import safe_open
from torch import Tensor, nn

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.weight_files import WEIGHTS_FILE, shards


def load_module(model_class: Any, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module of a diffusers `model_class` in eval mode, its weights moved to `device` shard by shard.

    On CPUs the weights are the mapped files themselves, of which all workers share one copy. Raises ConfigurationError
    if the files lack a weight or hold one of another shape.
    """
    module = empty_module(model_class, directory)
    for shard in shards(directory, WEIGHTS_FILE):
        assign(module, read_file(shard, device, dtype), shard)
    return finished(module, directory)


def read_file(
    path: Path, device: torch.device, dtype: torch.dtype, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, Tensor]:
    """The `wanted` tensors of a safetensors file, each moved and converted before the next is read."""
    with safe_open(path, framework="pt", device=str(device)) as file:
        return {name: file.get_tensor(name).to(dtype) for name in file.keys() if wanted(name)}  # noqa: SIM118


def assign(module: Any, weights: dict[str, Tensor], origin: Path) -> None:
    """Give a module some of its weights. Raises ConfigurationError if one has another shape."""
    try:
        module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        raise ConfigurationError(f"{origin} does not fit the module: {error}") from error


def finished(module: Any, origin: Path) -> Any:
    """The module in eval mode. Raises ConfigurationError if it lacks weights."""
    missing = [name for name, x in module.state_dict().items() if x.is_meta]
    if missing:
        raise ConfigurationError(f"{origin} lacks {len(missing)} weights, the first is {missing[0]}")
    return module.requires_grad_(False).eval()


def tensors_of(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
    """Every parameter and buffer with the dictionary and the name that it is kept under."""
    for child in module.modules():
        for kept in (child._parameters, child._buffers):
            yield from ((kept, name, tensor) for name, tensor in list(kept.items()) if tensor is not None)


def replace_tensors(modules: Iterable[nn.Module], make: Callable[[Tensor], Tensor]) -> None:
    """Put what `make` makes of each tensor in its place; one that is kept in several places stays one."""
    made: dict[int, tuple[Tensor, Tensor]] = {}  # holds the old one, too: its id must not be given to another
    for module in modules:
        for kept, name, tensor in tensors_of(module):
            if id(tensor) not in made:
                new = make(tensor)
                is_parameter = isinstance(tensor, nn.Parameter) and new is not tensor
                made[id(tensor)] = tensor, nn.Parameter(new, requires_grad=False) if is_parameter else new
            kept[name] = made[id(tensor)][1]


def empty_module(model_class: Any, directory: Path) -> Any:
    """A module of a diffusers class as its configuration describes it, without any storage.

    Raises ConfigurationError if the class can't make one of it.
    """
    with _described_in(directory), torch.device("meta"):
        return model_class.from_config(model_class.load_config(directory))


def empty_encoder(model_class: Any, directory: Path) -> Any:
    """A module of a transformers class without storage for its weights; other buffers are computed.

    Raises ConfigurationError if the class can't make one of the configuration.
    """
    with _described_in(directory):
        config = model_class.config_class.from_pretrained(directory)
        with init_empty_weights(include_buffers=False):
            module = model_class(config)
        module.tie_weights()
        return module


@contextmanager
def _described_in(directory: Path) -> Iterator[None]:
    """What a class raises over a configuration is its own, of any kind; without weights none is about the device."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{directory} describes no module: {type(error).__name__}: {error}") from error


def load_encoder(model_class: Any, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module of a transformers `model_class` in eval mode, its weights moved to `device` tensor by tensor.

    Raises ConfigurationError if the configuration is none of this class, or the files lack a weight.
    """
    placing = {} if device.type == "cpu" else {"device_map": {"": device}}
    with _described_in(directory):
        config = model_class.config_class.from_pretrained(directory)
    module, found = model_class.from_pretrained(
        directory, config=config, dtype=dtype, local_files_only=True, output_loading_info=True, **placing
    )
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        raise ConfigurationError(f"{directory} lacks {len(missing)} weights, the first is {missing[0]}")
    return module.requires_grad_(False).eval()
