"""Models of which only the architecture is packaged: full size, random weights, for measurement without a download.

Named `random:NAME` wherever a model directory may be named. Importable without torch.
"""

from pathlib import Path

from tetriserve.core.errors import ConfigurationError

PREFIX = "random:"
_DIRECTORY = Path(__file__).parent.parent / "architectures"


def architectures() -> tuple[str, ...]:
    """Names of the packaged architectures, in alphabetical order."""
    return tuple(sorted(path.name for path in _DIRECTORY.iterdir() if path.is_dir()))


def architecture_directory(name: str) -> Path:
    """The directory behind `random:NAME`. Raises ConfigurationError."""
    if name not in architectures():
        raise ConfigurationError(f"model {PREFIX}{name}: there are {', '.join(architectures())}")
    return _DIRECTORY / name
