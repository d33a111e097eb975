"""The parts of a pipeline, each from its folder of a model directory to its device."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
import transformers

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.card import INDEX_FILE
from tetriserve.models.json_file import read_object
from tetriserve.models.part_limits import check_limits
from tetriserve.models.single_file import load_single_file
from tetriserve.models.weights import load_encoder, load_module

ENCODER_PREFIX = "text_encoder"
FOLDER_NAME = re.compile(r"\w{1,100}", re.ASCII)
CONFIG_FILES = ("config.json", "scheduler_config.json")


@dataclass(frozen=True, slots=True)
class Component:
    """One entry of a model_index.json: a folder, and the class that reads it; `library` None where there is nothing."""

    name: str
    library: str | None
    class_name: str | None

    @property
    def is_encoder(self) -> bool:
        """Whether this is one of the text encoders."""
        return self.library is not None and self.name.startswith(ENCODER_PREFIX)

    @property
    def is_tokenizer(self) -> bool:
        """Whether this is one of the tokenizers."""
        return self.name.startswith("tokenizer")

    @property
    def is_module(self) -> bool:
        """Whether this has weights."""
        return self.is_encoder or self.name in ("transformer", "vae")

    def model_class(self) -> Any:
        """The class. Raises ConfigurationError if the library of this machine hasn't got it."""
        library = {"diffusers": diffusers, "transformers": transformers}.get(self.library or "")
        found = getattr(library, self.class_name or "", None)
        if found is None:
            raise ConfigurationError(f"{self.name}: {self.library} has no class {self.class_name!r} here")
        return found


class LoadWeights(Protocol):
    """How a component's module comes by its weights."""

    def __call__(self, component: Component, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
        """The module in eval mode on `device`."""
        ...


def read_components(directory: Path) -> tuple[Component, ...]:
    """What a pipeline consists of, in the order of its model_index.json.

    Raises ConfigurationError, also for a part whose configuration asks for what no machine could make.
    """
    index = directory / INDEX_FILE
    entries = [(name, entry) for name, entry in read_object(index).items() if isinstance(entry, list)]
    for name, entry in entries:
        if not FOLDER_NAME.fullmatch(name):
            raise ConfigurationError(f"{index}: {name!r} is no name of a folder with a part of a model")
        if len(entry) != 2 or not all(part is None or isinstance(part, str) for part in entry):
            raise ConfigurationError(f"{index}: {name} is {entry!r}, must be a library and a class of it")
    components = tuple(Component(name, *entry) for name, entry in entries)
    for component in components:
        for path in (directory / component.name / name for name in CONFIG_FILES):
            if component.library is not None and path.is_file():
                check_limits(path)
    return components


def from_files(component: Component, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """LoadWeights from safetensors files."""
    load = load_encoder if component.is_encoder else load_module
    return load(component.model_class(), directory / component.name, device, dtype)


def from_single_file(
    path: Path, component: Component, directory: Path, device: torch.device, dtype: torch.dtype
) -> Any:
    """LoadWeights, once `path` is given: from one file for this component."""
    return load_single_file(component.model_class(), directory / component.name, path, device, dtype)


def without_weights(component: Component, directory: Path) -> Any:
    """A scheduler or tokenizer. Raises ConfigurationError for files that its class can't read."""
    model_class, folder = component.model_class(), directory / component.name
    try:
        return model_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever these classes raise is about their files
        raise ConfigurationError(f"{folder} can't be read: {type(error).__name__}: {error}") from error
