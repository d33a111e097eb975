"""The JSON files of a model directory. Importable without torch."""

import json
from pathlib import Path
from typing import Any

from tetriserve.core.errors import ConfigurationError


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises ConfigurationError when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds no JSON object")
    return content
