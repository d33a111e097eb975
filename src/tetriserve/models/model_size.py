"""How much a model's weights are, from the headers of its files or from its architecture: no tensor is read."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.card import ModelCard
from tetriserve.models.components import Component, read_components
from tetriserve.models.config import LoadingConfig
from tetriserve.models.json_file import read_object
from tetriserve.models.weight_files import (
    ENCODER_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Shapes,
    network_shapes,
    shards,
    stored_shapes,
)
from tetriserve.models.weights import empty_encoder, empty_module

IN_BLOCK = re.compile(r"blocks?\.\d+\.")
MODULATION = re.compile(r"norm\w*\.linear|_mod\.|modulation|adaLN")
"""Layers that modulate norms, in the layouts of diffusers and of FLUX and SD3 as they were published."""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Numbers of weights. `eight_bit` of the network's can be in 8 bits, `modulation` outputs depend on the timestep.

    `width` is the network's D, `decode_channels` how many the VAE's decoder has at the image's own resolution.
    """

    network: int
    eight_bit: int
    modulation: int
    encoders: int
    vae: int
    width: int
    decode_channels: int


def model_size(directory: Path, card: ModelCard, loading: LoadingConfig) -> ModelSize:
    """Look at a model directory. Raises ConfigurationError if files are missing or not what they should be."""
    try:
        return _model_size(directory, card, loading)
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise ConfigurationError(f"the model in {str(directory)!r} can't be read: {error}") from error


def _model_size(directory: Path, card: ModelCard, loading: LoadingConfig) -> ModelSize:
    modules = [part for part in read_components(directory) if part.is_module]
    shapes = {part.name: _shapes(part, directory, card, loading) for part in modules}
    network = shapes.pop("transformer")
    in_blocks = {name: shape for name, shape in network.items() if IN_BLOCK.search(name) and len(shape) == 2}
    modulations = {name: shape for name, shape in in_blocks.items() if MODULATION.search(name)}
    products = [shape for name, shape in in_blocks.items() if name not in modulations]
    config = read_object(directory / "transformer" / "config.json")
    return ModelSize(
        network=_count(network.values()),
        eight_bit=_count(products),
        modulation=sum(shape[0] for shape in modulations.values()),
        vae=_count(shapes.pop("vae").values()),
        encoders=sum(_count(encoder.values()) for encoder in shapes.values()),
        width=config["num_attention_heads"] * config["attention_head_dim"],
        decode_channels=_decode_channels(read_object(directory / "vae" / "config.json")),
    )


def _shapes(component: Component, directory: Path, card: ModelCard, loading: LoadingConfig) -> Shapes:
    folder = directory / component.name
    if component.name == "transformer" and loading.transformer is not None:
        return network_shapes(Path(loading.transformer))
    if card.weights == "random":
        empty = empty_encoder if component.is_encoder else empty_module
        return {name: tuple(x.shape) for name, x in empty(component.model_class(), folder).named_parameters()}
    files = shards(folder, ENCODER_WEIGHTS_FILE if component.is_encoder else WEIGHTS_FILE)
    return {name: shape for file in files for name, shape in stored_shapes(file).items()}


def _count(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)


def _decode_channels(vae: dict[str, Any]) -> int:
    """Of the widest feature map at full resolution: what the last block upwards is given.

    A VAE for videos, too, holds about three times as much beside such a map: padded copies, and frames for the next.
    """
    if "base_dim" in vae:
        return int(3 * vae["base_dim"] * vae["dim_mult"][1])
    widths = vae["block_out_channels"]
    return int(widths[min(1, len(widths) - 1)])
