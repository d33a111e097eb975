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
from tetriserve.models.config import AS_IT_IS, LoadingConfig
from tetriserve.models.encoders import TextEncoders, home_of
from tetriserve.models.flux import FluxAdapter
from tetriserve.models.random_weights import at_random, random_tokenizer
from tetriserve.models.sd3 import SD3Adapter

Report = Callable[[str], None]


def load_model(
    directory: Path,
    device: torch.device,
    dtype: torch.dtype,
    report: Report,
    loading: LoadingConfig = AS_IT_IS,
) -> ModelAdapter:
    """Load a directory in the diffusers layout; `report` hears what is being loaded.

    Raises ConfigurationError if the directory holds no model that this package can run.
    """
    card = read_card(directory)
    try:
        return _load_pipeline(directory, card, device, dtype, report, loading)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"the model in {str(directory)!r} can't be loaded: {error}") from error


def quiet_libraries() -> None:
    """Leave of what diffusers and transformers log only the errors, and no progress bars, in this process."""
    for library in (diffusers, transformers):
        logging: Any = library.utils.logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _load_pipeline(
    directory: Path,
    card: ModelCard,
    device: torch.device,
    dtype: torch.dtype,
    report: Report,
    loading: LoadingConfig,
) -> ModelAdapter:
    is_random = card.weights == "random"
    parts: dict[str, Any] = {}
    for component in read_components(directory):
        if component.library is None:
            parts[component.name] = None
        elif component.is_module:
            report(f"loading {component.name}")
            load = _way_to_load(component, loading, is_random=is_random)
            home = home_of(loading.encoders, device) if component.is_encoder else device
            parts[component.name] = load(component, directory, home, dtype)
        elif component.is_tokenizer and is_random:
            parts[component.name] = random_tokenizer(component, directory)
        else:
            parts[component.name] = without_weights(component, directory)
    pipeline = getattr(diffusers, card.pipeline)(**parts)
    return _ADAPTERS[card.pipeline](pipeline, card, device, TextEncoders.of(pipeline, loading.encoders, device))


def _way_to_load(component: Component, loading: LoadingConfig, *, is_random: bool) -> LoadWeights:
    if component.name == "transformer" and loading.transformer is not None:
        return partial(from_single_file, Path(loading.transformer))
    return at_random if is_random else from_files


_ADAPTERS: Mapping[str, Callable[[Any, ModelCard, torch.device, TextEncoders], ModelAdapter]] = {
    "FluxPipeline": FluxAdapter,
    "StableDiffusion3Pipeline": SD3Adapter,
}
"""By the name of the diffusers pipeline, which is imported when it is asked for: each takes a while."""
