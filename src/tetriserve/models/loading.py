"""From a model directory to an adapter on a device."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import FluxPipeline, FluxTransformer2DModel

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.card import ModelCard, read_card
from tetriserve.models.flux import FluxAdapter
from tetriserve.models.weights import load_module

Report = Callable[[str], None]


def load_model(directory: Path, device: torch.device, dtype: torch.dtype, report: Report) -> ModelAdapter:
    """Load a directory in the diffusers layout; `report` hears what is being loaded.

    Raises ConfigurationError if the directory holds no model that this package can run.
    """
    card = read_card(directory)
    try:
        return _LOADERS[card.pipeline](directory, card, device, dtype, report)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigurationError(f"the model in {str(directory)!r} can't be loaded: {error}") from error


def quiet_libraries() -> None:
    """Leave of what diffusers and transformers log only the errors, and no progress bars, in this process."""
    for library in (diffusers, transformers):
        logging: Any = library.utils.logging
        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _load_flux(
    directory: Path, card: ModelCard, device: torch.device, dtype: torch.dtype, report: Report
) -> ModelAdapter:
    report("loading the transformer")
    transformer = load_module(FluxTransformer2DModel, directory / "transformer", device, dtype)
    report("loading text encoders and VAE")
    pipeline: Any = FluxPipeline.from_pretrained(  # type: ignore[no-untyped-call]
        directory, transformer=transformer, dtype=dtype, local_files_only=True
    )
    return FluxAdapter(pipeline.to(device), card, device)


_LOADERS: Mapping[str, Callable[[Path, ModelCard, torch.device, torch.dtype, Report], ModelAdapter]] = {
    "FluxPipeline": _load_flux,
}
