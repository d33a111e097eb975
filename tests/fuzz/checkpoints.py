"""What is read of a model's directory before its weights: index, card, configurations, headers of weight files."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fuzz.target import Target, as_json
from tetriserve.core.errors import ConfigurationError
from tetriserve.models.card import CARD_FILE, read_card
from tetriserve.models.components import read_components, without_weights
from tetriserve.models.config import AS_IT_IS
from tetriserve.models.loading import load_model
from tetriserve.models.model_size import model_size
from tetriserve.models.weight_files import stored_shapes
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR

WEIGHTS_INDEX = "transformer/diffusion_pytorch_model.safetensors.index.json"
PARTS = ("transformer/config.json", "vae/config.json", "text_encoder/config.json", "text_encoder_2/config.json")
TOKENIZER = "tokenizer/tokenizer.json"
HEADER = {
    "__metadata__": {"format": "pt"},
    "transformer_blocks.0.norm1.linear.weight": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
    "x.bias": {"dtype": "F32", "shape": [4], "data_offsets": [32, 48]},
}


def with_file(name: str) -> Callable[[bytes, Path], None]:
    """Reads what is known of a model before its weights, with this file of it changed."""

    def read(data: bytes, folder: Path) -> None:
        directory = _with(data, name, folder)
        card = read_card(directory)
        for component in read_components(directory):
            if component.library is not None:
                component.model_class()
        model_size(directory, card, AS_IT_IS)

    return read


def with_part(name: str) -> Callable[[bytes, Path], None]:
    """Loads the part without weights that this file is of."""

    def read(data: bytes, folder: Path) -> None:
        directory = _with(data, name, folder)
        (part,) = (one for one in read_components(directory) if one.name == Path(name).parent.name)
        without_weights(part, directory)

    return read


def loaded_with(name: str) -> Callable[[bytes, Path], None]:
    """Loads the whole model, on a CPU. What torch has against it while it runs, the command says in a line, too."""

    def read(data: bytes, folder: Path) -> None:
        directory = _with(data, name, folder)
        model_size(directory, read_card(directory), AS_IT_IS)
        try:
            load_model(directory, torch.device("cpu"), torch.float32, lambda said: None)
        except RuntimeError as error:
            raise ConfigurationError(str(error)) from error

    return read


def at_random_with(name: str) -> Callable[[bytes, Path], None]:
    """Describes a model that has configurations and no weights."""
    read_file = with_file(name)

    def read(data: bytes, folder: Path) -> None:
        _with(b'{"weights": "random"}', CARD_FILE, folder)
        read_file(data, folder)

    return read


def _with(data: bytes, name: str, folder: Path) -> Path:
    """A copy of the embedded model that has this file changed."""
    directory = folder / "model"
    if not directory.is_dir():
        shutil.copytree(EMBEDDED_MODEL_DIR, directory, copy_function=_link)
    path = directory / name
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return directory


def _link(origin: str, copy: str) -> None:
    Path(copy).symlink_to(origin)


def read_header(data: bytes, folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(data)
    stored_shapes(path)


def as_safetensors(document: Any) -> bytes:
    header = as_json(document)
    return struct.pack("<Q", len(header)) + header + bytes(48)


def _of_model(
    name: str,
    with_it: Callable[[str], Callable[[bytes, Path], None]] = with_file,
    share: float = 0.5,
    of: str = "model's",
) -> Target:
    document = json.loads((EMBEDDED_MODEL_DIR / name).read_text(encoding="utf-8"))
    if name == TOKENIZER:
        document["model"] |= {"vocab": dict(list(document["model"]["vocab"].items())[:8]), "merges": []}
    return Target(f"{of} {name}", with_it(name), (document,), share=share)


TARGETS = (
    _of_model("model_index.json"),
    _of_model("tetriserve.json"),
    _of_model("transformer/config.json"),
    _of_model("vae/config.json"),
    _of_model(WEIGHTS_INDEX),
    _of_model("scheduler/scheduler_config.json", with_part),
    _of_model("tokenizer/tokenizer_config.json", with_part, 0.5),
    _of_model(TOKENIZER, with_part, 0.5),
    *(_of_model(name, at_random_with, 0.2, "random model's") for name in PARTS[:3]),
    *(_of_model(name, loaded_with, 0.05, "loaded model's") for name in PARTS),
    Target("safetensors header", read_header, (HEADER,), as_safetensors),
)
