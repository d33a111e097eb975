"""Full-size modules with random weights, made on the device: they cost what the real ones cost, and draw noise.

They are the same on every device of one kind. A module's own initialisation, which takes minutes, is not run.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tetriserve.models.components import Component
from tetriserve.models.weights import empty_encoder, empty_module, replace_tensors, tensors_of

SEED = 0
STD = 0.02
TOKENIZER_FILE = "tokenizer_config.json"
TOKENIZER_DIRECTORY = Path(__file__).parent.parent / "embedded" / "tokenizer"


def at_random(component: Component, directory: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """LoadWeights that reads configurations alone."""
    make = empty_encoder if component.is_encoder else empty_module
    module = make(component.model_class(), directory / component.name)
    generator = torch.Generator(device).manual_seed(SEED)
    names = {id(tensor): name for _, name, tensor in tensors_of(module)}

    def filled(tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return tensor
        return _fill(torch.empty(tensor.shape, dtype=dtype, device=device), names[id(tensor)], generator)

    replace_tensors([module], filled)
    return module.to(device).eval()


def random_tokenizer(component: Component, directory: Path) -> Any:
    """The embedded model's tokenizer, cut and padded to the length that the architecture's encoder reads."""
    settings = json.loads((directory / component.name / TOKENIZER_FILE).read_text(encoding="utf-8"))
    return component.model_class().from_pretrained(TOKENIZER_DIRECTORY, local_files_only=True, **settings)


def _fill(values: Tensor, name: str, generator: torch.Generator) -> Tensor:
    """Norms are ones, so that no depth makes values explode."""
    if name == "gamma" or (values.dim() == 1 and name == "weight"):
        return values.fill_(1.0)
    return values.normal_(0.0, STD, generator=generator)
