"""From what an operator names as the model to a directory on this machine. Importable without torch."""

from pathlib import Path

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.architectures import PREFIX, architecture_directory, architectures


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
    from tetriserve.models import hub  # noqa: PLC0415  (takes a while, and only models on the hub need it)

    if hub.HUB_ID.fullmatch(str(model)) is None:
        return model
    return hub.download(str(model), revision, with_transformer=with_transformer)


def model_name(directory: Path) -> str:
    """What `find_model` makes `directory` of."""
    for name in architectures():
        if directory == architecture_directory(name):
            return f"{PREFIX}{name}"
    return str(directory)
