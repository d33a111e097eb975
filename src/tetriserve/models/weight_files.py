"""Which files hold a module's weights, and what their headers say. Importable without torch."""

import json
from collections.abc import Mapping
from pathlib import Path

from tetriserve.core.errors import ConfigurationError

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
ENCODER_WEIGHTS_FILE = "model.safetensors"
"""What transformers calls its files."""
NETWORK_PREFIX = "model.diffusion_model."
"""What the names of the network's weights begin with in a file that holds a whole pipeline."""
MAX_HEADER_BYTES = 100 * 10**6
"""The format's own limit."""

Shapes = Mapping[str, tuple[int, ...]]


def shards(directory: Path, file: str) -> list[Path]:
    """The safetensors files of a module, of which large ones have several and an index. Raises ConfigurationError."""
    index = directory / f"{file}.index.json"
    if not index.is_file():
        found = [directory / file]
    else:
        names: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        found = [directory / name for name in sorted(set(names.values()))]
    missing = [shard.name for shard in found if not shard.is_file()]
    if missing:
        raise ConfigurationError(f"{directory} lacks {len(missing)} of {len(found)} weight files: {', '.join(missing)}")
    return found


def stored_shapes(path: Path) -> Shapes:
    """The tensors of a safetensors file, by name, from its header alone. Raises ConfigurationError if it has none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header would be {length} bytes long")
            header = json.loads(file.read(length))
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no safetensors file: {error}") from error


def network_shapes(path: Path) -> Shapes:
    """Of a file that may hold a whole pipeline, the tensors of the network: those with its prefix, if any has it."""
    shapes = stored_shapes(path)
    return {name: shape for name, shape in shapes.items() if name.startswith(NETWORK_PREFIX)} or shapes
