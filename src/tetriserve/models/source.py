"""From what an operator names as the model to a directory on this machine. Importable without torch."""

import re
from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.architectures import PREFIX, architecture_directory, architectures

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def find_model(name: str) -> Path:
    """The directory of `random:ARCHITECTURE`, or the one at that path, which `fetch_model` may find on the hub.

    Raises ConfigurationError.
    """
    if name.startswith(PREFIX):
        return architecture_directory(name.removeprefix(PREFIX))
    return Path(name)


def fetch_model(model: Path, revision: str | None = None, *, with_transformer: bool = True) -> Path:
    """`model` itself where it is a directory; else, where it reads like `owner/name`, the hub's model of that name.

    Raises ConfigurationError.
    """
    if model.exists():
        if revision is not None:
            raise ConfigurationError(
                f"revision {revision!r}: {str(model)!r} is a directory; only the hub has revisions"
            )
        return model
    if not is_on_hub(model):
        return model
    from tetriserve.models import hub  # noqa: PLC0415  (takes a while, and only models on the hub need it)

    return hub.download(str(model), revision, with_transformer=with_transformer)


def is_on_hub(model: Path) -> bool:
    """Whether `model` is no directory, and reads like the name of a model on the hub."""
    return not model.exists() and HUB_ID.fullmatch(str(model)) is not None


def model_name(directory: Path) -> str:
    """What `find_model` makes `directory` of."""
    for name in architectures():
        if directory == architecture_directory(name):
            return f"{PREFIX}{name}"
    return str(directory)
