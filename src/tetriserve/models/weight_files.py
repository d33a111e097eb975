"""Which files hold a module's weights, and what their headers say. Importable without torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.json_file import read_object

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
ENCODER_WEIGHTS_FILE = "model.safetensors"
"""What transformers calls its files."""
NETWORK_PREFIX = "model.diffusion_model."
"""What the names of the network's weights begin with in a file that holds a whole pipeline."""
MAX_HEADER_BYTES = 100 * 10**6
"""The format's own limit."""

MAX_SIDE = 1 << 63

Shapes = Mapping[str, tuple[int, ...]]


def shards(directory: Path, file: str) -> list[Path]:
    """The safetensors files of a module, of which large ones have several and an index. Raises ConfigurationError."""
    index = directory / f"{file}.index.json"
    found = [directory / name for name in (_named_in(index) if index.is_file() else [file])]
    missing = [shard.name for shard in found if not shard.is_file()]
    if missing:
        raise ConfigurationError(f"{directory} lacks {len(missing)} of {len(found)} weight files: {', '.join(missing)}")
    return found


def _named_in(index: Path) -> list[str]:
    """The files that an index names, all of them beside it. Raises ConfigurationError."""
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ConfigurationError(f"{index}: weight_map is {names!r}, must name a file for every weight")
    for name in names.values():
        if not isinstance(name, str) or Path(name).name != name or "\0" in name:
            raise ConfigurationError(f"{index}: {name!r} is no file beside it")
    return sorted(set(names.values()))


def stored_shapes(path: Path) -> Shapes:
    """The tensors of a safetensors file, by name, from its header alone. Raises ConfigurationError if it has none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(file.read(length))
        return {name: _shape(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConfigurationError(f"{path} is no safetensors file: {error}") from error


def _shape(raw: list[int]) -> tuple[int, ...]:
    """Raises ValueError."""
    if not isinstance(raw, list) or not all(type(side) is int and 0 <= side < MAX_SIDE for side in raw):
        raise ValueError(f"the shape {raw!r} is not one of whole numbers")
    return tuple(raw)


def network_shapes(path: Path) -> Shapes:
    """Of a file that may hold a whole pipeline, the tensors of the network: those with its prefix, if any has it."""
    shapes = stored_shapes(path)
    return {name: shape for name, shape in shapes.items() if name.startswith(NETWORK_PREFIX)} or shapes
