"""From what an operator names as the model to a directory on this machine. Importable without torch."""

from pathlib import Path

from tetriserve.models.architectures import PREFIX, architecture_directory, architectures


def find_model(name: str) -> Path:
    """The directory of `random:ARCHITECTURE`, or the one at that path. Raises ConfigurationError."""
    if name.startswith(PREFIX):
        return architecture_directory(name.removeprefix(PREFIX))
    return Path(name)


def model_name(directory: Path) -> str:
    """What `find_model` makes `directory` of."""
    for name in architectures():
        if directory == architecture_directory(name):
            return f"{PREFIX}{name}"
    return str(directory)
