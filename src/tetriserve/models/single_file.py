"""The network's weights from one safetensors file, as FLUX and Stable Diffusion 3 were published and ComfyUI has them.

Names are translated by diffusers' own functions. Files that hold text encoders and a VAE beside the network are read
for the network alone.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_sd3_transformer_checkpoint_to_diffusers,
)
from torch import Tensor

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.weight_files import network_shapes
from tetriserve.models.weights import assign, empty_module, finished, read_file

Weights = dict[str, Tensor]


def load_single_file(model_class: Any, directory: Path, path: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A module as the configuration in `directory` describes it, with the weights of the file at `path`.

    Raises ConfigurationError if the file lacks a weight, has one too many, or is of another model.
    """
    module = empty_module(model_class, directory)
    try:
        weights = in_diffusers_layout(
            read_file(path, device, dtype, network_shapes(path).__contains__), model_class.__name__
        )
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise ConfigurationError(f"{path} is no {model_class.__name__} in a layout that is known: {error}") from error
    unknown = sorted(weights.keys() - module.state_dict().keys())
    if unknown:
        raise ConfigurationError(f"{path} has {len(unknown)} weights that are not the network's, like {unknown[0]}")
    assign(module, weights, path)
    return finished(module, path)


def in_diffusers_layout(weights: Weights, class_name: str) -> Weights:
    """Weights by the names of diffusers' class; what no name is known for keeps its own. Takes `weights` apart."""
    marker, convert = _ORIGINAL.get(class_name, ("", None))
    if convert is None or not any(marker in name for name in weights):
        return weights
    return {**convert(weights), **weights}


_ORIGINAL: Mapping[str, tuple[str, Callable[[Weights], Weights]]] = {
    "FluxTransformer2DModel": ("double_blocks.", convert_flux_transformer_checkpoint_to_diffusers),
    "SD3Transformer2DModel": ("joint_blocks.", convert_sd3_transformer_checkpoint_to_diffusers),
}
"""By class: part of a name that only the original layout has, and the way to diffusers'."""
