"""Models on the Hugging Face hub: from `owner/name` to a directory on this machine. Importable without torch.

Token, cache, endpoint and offline mode are huggingface_hub's own: `hf auth login`, HF_TOKEN, HF_HOME, HF_ENDPOINT,
HF_HUB_OFFLINE.
"""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.card import CARD_FILE, INDEX_FILE, check_pipeline
from tetriserve.models.json_file import read_object

PRECISION_VARIANTS = "*.fp16*"
"""Copies of the same weights in another format, beside the files that are used."""


def download(name: str, revision: str | None, *, with_transformer: bool) -> Path:
    """The snapshot of a model's repository, of which only what is used is downloaded; what is there already, is not.

    Weights of the network only `with_transformer`. Raises ConfigurationError that says what to do next.
    """
    try:
        index = Path(huggingface_hub.hf_hub_download(name, INDEX_FILE, revision=revision))
        check_pipeline(index)  # before tens of gigabytes are on their way
        patterns = list(_patterns(index, with_transformer=with_transformer))
        commit = index.parent.name
        return Path(
            huggingface_hub.snapshot_download(
                name, revision=commit, allow_patterns=patterns, ignore_patterns=PRECISION_VARIANTS
            )
        )
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"model {name!r}{_what_next(name, revision, error)}") from error


def _patterns(index: Path, *, with_transformer: bool) -> Iterator[str]:
    """The files of the folders that the index names: all configurations, weights as safetensors only."""
    yield from (INDEX_FILE, CARD_FILE)
    for folder, entry in read_object(index).items():
        if not isinstance(entry, list) or entry[:1] in ([], [None]):
            continue
        yield from (f"{folder}/*.{kind}" for kind in ("json", "txt", "model", "jinja"))
        if with_transformer or folder != "transformer":
            yield f"{folder}/*.safetensors"


def _what_next(name: str, revision: str | None, error: Exception) -> str:
    """The rest of a sentence about `name`: what is wrong, and what to do."""
    page = f"{constants.ENDPOINT}/{name}"
    match error:
        case errors.GatedRepoError():
            return f" is gated: accept its terms at {page}, then give a token by `hf auth login` or HF_TOKEN"
        case errors.RevisionNotFoundError():
            return f" has no revision {revision!r}: see {page}/commits"
        case errors.RepositoryNotFoundError():
            return f": no such directory here, and no {page} that this token may read; a private one needs HF_TOKEN"
        case errors.RemoteEntryNotFoundError():
            return f" is not in the diffusers layout: {page} has no {INDEX_FILE}"
        case errors.LocalEntryNotFoundError():
            return (
                f": no such directory here, and {constants.ENDPOINT} can't be asked for it (no connection, or "
                f"HF_HUB_OFFLINE is set); run `hf download {name}` where it can, or name a directory"
            )
    return f" can't be downloaded from {constants.ENDPOINT}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
