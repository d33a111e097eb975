"""What a model directory says about itself, read without torch so that a server process can know it.

A directory in the diffusers layout may hold a `tetriserve.json`; what it leaves out follows from the pipeline's class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.params import MAX_GUIDANCE_SCALE
from tetriserve.core.size import Size
from tetriserve.models.json_file import read_object

Guidance = Literal["true_cfg", "embedded", "none"]
Weights = Literal["files", "random"]

CARD_FILE = "tetriserve.json"
INDEX_FILE = "model_index.json"
SIZES = ("256x256", "512x512", "1024x1024", "2048x2048")
PIXELS_A_POSITION = 16
"""Pixels a side of a token: a patch of 2 x 2 latent pixels, each of 8 x 8."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Defaults and limits of one model.

    `max_sequence_length` counts the tokens that a prompt is padded or cut to. `guidance` says what a request's
    guidance_scale means: "true_cfg" two forward passes a step, "embedded" an input of the network, "none" nothing.
    `sizes` are those it is meant to make, smallest first; a server measures them and takes the largest as its limit.
    `weights` "random" says that the directory holds configurations alone: such a model costs what the real one costs.
    `max_side_px` is the longest side that the network has positions for, None where there is no end.
    """

    name: str
    pipeline: str
    max_sequence_length: int
    guidance: Guidance
    default_guidance_scale: float
    default_num_inference_steps: int
    sizes: tuple[Size, ...]
    weights: Weights = "files"
    max_side_px: int | None = None

    def check_side(self, size: Size) -> Size:
        """`size` itself. Raises InvalidRequestError if a side is longer than the network has positions for."""
        if self.max_side_px is not None and max(size) > self.max_side_px:
            raise InvalidRequestError(
                f"size {size}: {self.name} makes images of up to {self.max_side_px} pixels a side", "size"
            )
        return size


def read_card(directory: Path) -> ModelCard:
    """Read a model directory's card. Raises ConfigurationError for anything but a model this package can run."""
    if not directory.is_dir():
        raise ConfigurationError(f"model directory {str(directory)!r} does not exist")
    if not (directory / INDEX_FILE).is_file():
        raise ConfigurationError(f"{str(directory)!r} is not in the diffusers layout: it has no {INDEX_FILE}")
    pipeline = check_pipeline(directory / INDEX_FILE)
    network = read_object(directory / "transformer" / "config.json")
    defaults = {
        "name": _name_of(directory.resolve()),
        "sizes": SIZES,
        "weights": "files",
        **_DEFAULTS[pipeline](network),
    }
    max_side_px = defaults.pop("max_side_px", None)
    path = directory / CARD_FILE
    given = read_object(path) if path.is_file() else {}
    unknown = sorted(given.keys() - defaults.keys())
    if unknown:
        raise ConfigurationError(f"{path}: unknown keys {', '.join(unknown)}; there are {', '.join(defaults)}")
    known = {key: _checked(path, key, given.get(key, default)) for key, default in defaults.items()}
    return ModelCard(pipeline=pipeline, max_side_px=max_side_px, **known)


def check_pipeline(index: Path) -> str:
    """The pipeline that a model_index.json names. Raises ConfigurationError if this package can't run it."""
    pipeline = str(read_object(index).get("_class_name"))
    if pipeline not in _DEFAULTS:
        raise ConfigurationError(f"{index} names the pipeline {pipeline!r}; supported are {', '.join(_DEFAULTS)}")
    return pipeline


def _name_of(directory: Path) -> str:
    """The directory's name; of the hub's cache, where that is a hash (models--OWNER--NAME/snapshots/HASH), NAME."""
    repository = directory.parent.parent.name
    if directory.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.rpartition("--")[2]
    return directory.name


def _flux_defaults(network: dict[str, Any]) -> dict[str, Any]:
    """FLUX.1: [schnell] is the one without guidance embeddings. Source: FluxPipeline.__call__."""
    embedded = bool(network.get("guidance_embeds", False))
    return {
        "max_sequence_length": 512,
        "guidance": "embedded" if embedded else "none",
        "default_guidance_scale": 3.5,
        "default_num_inference_steps": 28 if embedded else 4,
    }


def _sd3_defaults(network: dict[str, Any]) -> dict[str, Any]:
    """Stable Diffusion 3, and 3.5, which normalises queries and keys; 3.5 medium has layers with two attentions.

    Source: StableDiffusion3Pipeline.__call__, and the examples on the models' cards for 3.5.
    """
    if network.get("dual_attention_layers"):
        steps, scale = 40, 4.5
    else:
        steps, scale = 28, 3.5 if network.get("qk_norm") else 7.0
    return {
        "max_sequence_length": 256,
        "guidance": "true_cfg",
        "default_guidance_scale": scale,
        "default_num_inference_steps": steps,
        "max_side_px": network.get("pos_embed_max_size", 96) * PIXELS_A_POSITION,
    }


def _qwen_defaults(network: dict[str, Any]) -> dict[str, Any]:
    """Qwen-Image. Source: QwenImagePipeline.__call__."""
    return {
        "max_sequence_length": 512,
        "guidance": "true_cfg",
        "default_guidance_scale": 4.0,
        "default_num_inference_steps": 50,
    }


_DEFAULTS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "FluxPipeline": _flux_defaults,
    "QwenImagePipeline": _qwen_defaults,
    "StableDiffusion3Pipeline": _sd3_defaults,
}


def _checked(path: Path, key: str, value: Any) -> Any:
    """`value` if it is one that `key` may have. Raises ConfigurationError otherwise."""
    if key == "sizes":
        return _sizes(path, value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match key:
        case "name":
            good = isinstance(value, str) and value != ""
        case "guidance":
            good = value in get_args(Guidance)
        case "weights":
            good = value in get_args(Weights)
        case "default_guidance_scale":
            good = number and 0 <= value <= MAX_GUIDANCE_SCALE
        case _:
            good = number and isinstance(value, int) and value > 0
    if not good:
        raise ConfigurationError(f"{path}: {key} can't be {value!r}")
    return float(value) if key == "default_guidance_scale" else value


def _sizes(path: Path, value: Any) -> tuple[Size, ...]:
    """Sizes written as WIDTHxHEIGHT, in order of their tokens. Raises ConfigurationError."""
    try:
        sizes = {Size.parse(text) for text in value}
    except (InvalidRequestError, TypeError) as error:
        raise ConfigurationError(f"{path}: sizes can't be {value!r}: {error}") from error
    if not sizes:
        raise ConfigurationError(f"{path}: sizes can't be empty")
    return tuple(sorted(sizes, key=lambda size: (size.num_tokens, size)))
