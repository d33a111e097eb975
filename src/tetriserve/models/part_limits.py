"""Limits of what a part's configuration may ask for, looked at before a class builds a module of it.

Modules are described without storage, so widths cost nothing until weights that don't fit are read. Layers cost time
each, and tables of positions are computed: with a number that makes no sense such a module is never done.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tetriserve.core.errors import ConfigurationError
from tetriserve.models.json_file import read_object

MAX_NUMBER = 2**24
"""Of anything else. The largest in models that are served are sizes of vocabularies, up to 2**18."""
LIMITS = {"layers": 200, "pos_embed_max_size": 1024, "num_train_timesteps": 100_000}
"""By what a key holds. In models that are served these are 60, 384 and 1000."""


def check_limits(path: Path) -> None:
    """Raises ConfigurationError for a configuration with a whole number that no model has, at any depth."""
    for key, number in _numbers("", read_object(path)):
        limit = next((limit for word, limit in LIMITS.items() if word in key), MAX_NUMBER)
        if number > limit:
            raise ConfigurationError(f"{path}: {key} is {number}, must be at most {limit}")


def _numbers(key: str, value: Any) -> Iterator[tuple[str, int]]:
    """Every whole number with the key that it, or the list around it, stands under."""
    if isinstance(value, Mapping):
        for inner, one in value.items():
            yield from _numbers(inner, one)
    elif isinstance(value, list):
        for one in value:
            yield from _numbers(key, one)
    elif isinstance(value, int):
        yield key, value
