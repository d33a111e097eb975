"""From a model directory to an adapter on a device."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.card import ModelCard, read_card
from tetriserve.models.components import (
    Component,
    LoadWeights,
    from_files,
    from_single_file,
    read_components,
    without_weights,
)
from tetriserve.models.config import AS_IT_IS, LoadingConfig, Lora
from tetriserve.models.encoders import HOST, TextEncoders, home_of
from tetriserve.models.flux import FluxAdapter
from tetriserve.models.fp8 import quantized
from tetriserve.models.lora import merge_lora
from tetriserve.models.packed_transformer import Packing
from tetriserve.models.qwen import QwenAdapter
from tetriserve.models.random_weights import at_random, random_tokenizer
from tetriserve.models.sd3 import SD3Adapter

OF_FILES = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError)
"""What classes of diffusers and transformers raise over files that make no sense to them. A RuntimeError of torch may
just as well be about the device."""

Report = Callable[[str], None]


def load_model(
    directory: Path,
    device: torch.device,
    dtype: torch.dtype,
    report: Report,
    loading: LoadingConfig = AS_IT_IS,
    *,
    eight_bits: bool = False,
) -> ModelAdapter:
    """Load a directory in the diffusers layout; `report` hears what is being loaded.

    With `eight_bits` the blocks' matrix products are computed in 8-bit floating point.

    Raises ConfigurationError if the directory holds no model that this package can run.
    """
    card = read_card(directory)
    packing = Packing(device, quantized) if eight_bits else Packing(device)
    try:
        return _load_pipeline(directory, card, packing, dtype, report, loading)
    except OF_FILES as error:
        raise ConfigurationError(
            f"the model in {str(directory)!r} can't be loaded: {type(error).__name__}: {error}"
        ) from error


def assemble(directory: Path, card: ModelCard, load_module: Callable[[Component], Any]) -> Any:
    """The diffusers pipeline of a directory; `load_module` gives the parts that have weights."""
    parts: dict[str, Any] = {}
    for component in read_components(directory):
        if component.library is None:
            parts[component.name] = None
        elif component.is_module:
            parts[component.name] = load_module(component)
        elif component.is_tokenizer and card.weights == "random":
            parts[component.name] = random_tokenizer(component, directory)
        else:
            parts[component.name] = without_weights(component, directory)
    return getattr(diffusers, card.pipeline)(**parts)


def quiet_libraries() -> None:
    """Leave of what diffusers and transformers log only the errors, and no progress bars, in this process."""
    for library in (diffusers, transformers):
        logging: Any = library.utils.logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _load_pipeline(
    directory: Path,
    card: ModelCard,
    packing: Packing,
    dtype: torch.dtype,
    report: Report,
    loading: LoadingConfig,
) -> ModelAdapter:
    def load(component: Component) -> Any:
        report(f"loading {component.name}")
        load_weights = _way_to_load(component, loading, is_random=card.weights == "random")
        return load_weights(component, directory, _home_of(component, card, packing, loading), dtype)

    pipeline = assemble(directory, card, load)
    for lora in map(Lora.parse, loading.loras):
        report(f"merging {lora.path.name}")
        merge_lora(pipeline, lora)
    return _ADAPTERS[card.pipeline](pipeline, card, packing, TextEncoders.of(pipeline, loading, packing.device))


def _home_of(component: Component, card: ModelCard, packing: Packing, loading: LoadingConfig) -> torch.device:
    """Where a module is loaded to. A network that is not used in the format of its files waits there on the host."""
    if component.is_encoder:
        return home_of(loading.encoders, packing.device)
    is_converted = component.name == "transformer" and packing.convert is quantized
    return HOST if is_converted and card.weights == "files" else packing.device


def _way_to_load(component: Component, loading: LoadingConfig, *, is_random: bool) -> LoadWeights:
    if component.name == "transformer" and loading.transformer is not None:
        return partial(from_single_file, Path(loading.transformer))
    return at_random if is_random else from_files


def load_diffusers(
    directory: Path, device: torch.device, dtype: torch.dtype, transformer: Any = None
) -> tuple[Any, ModelCard]:
    """The pipeline as diffusers itself runs it, and its card; with another `transformer` if one is given."""
    card = read_card(directory)
    load_weights = at_random if card.weights == "random" else from_files

    def load(component: Component) -> Any:
        if component.name == "transformer" and transformer is not None:
            return transformer
        return load_weights(component, directory, device, dtype)

    return assemble(directory, card, load), card


_ADAPTERS: Mapping[str, Callable[[Any, ModelCard, Packing, TextEncoders], ModelAdapter]] = {
    "FluxPipeline": FluxAdapter,
    "QwenImagePipeline": QwenAdapter,
    "StableDiffusion3Pipeline": SD3Adapter,
}
"""By the name of the diffusers pipeline, which is imported when it is asked for: each takes a while."""
