"""Which files hold a module's weights. Importable without torch."""

import json
from pathlib import Path

from tetriserve.core.errors import ConfigurationError

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
ENCODER_WEIGHTS_FILE = "model.safetensors"
"""What transformers calls its files."""


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
