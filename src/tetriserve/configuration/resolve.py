"""From flags, environment and file to one configuration, and where each value comes from.

A flag wins over a variable, a variable over the file, the file over the default. An empty variable is none.
"""

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from tetriserve.configuration.declared import PREFIX, Setting, declared
from tetriserve.configuration.read import read_value
from tetriserve.core.errors import ConfigurationError
from tetriserve.server.config import KEYS_VARIABLE

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
"""Names the file, as `--config` does."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it comes from: `default`, `serve.toml`, `TETRISERVE_PORT` or `--port`."""

    setting: Setting
    value: Any
    origin: str

    @property
    def given(self) -> bool:
        """Whether somebody chose it."""
        return self.origin != "default"


@dataclass(frozen=True, slots=True)
class Resolved(Generic[T]):
    """The configuration, each of its values, and variables with our prefix that are none of ours."""

    configuration: T
    found: tuple[Found, ...]
    strange_variables: tuple[str, ...]


def resolve(default: T, flags: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Resolved[T]:
    """`default` with what flags (by key, None where not given; `config` names the file), variables and file say.

    Raises ConfigurationError.
    """
    settings = declared(type(default))
    path = flags.get("config") or environment.get(CONFIG_VARIABLE)
    in_file = {} if not path else read_file(Path(path).expanduser(), settings)
    found = tuple(_find(one, flags, environment, in_file, str(path)) for one in settings)
    known = {CONFIG_VARIABLE, KEYS_VARIABLE, *(one.variable for one in settings)}
    strange = tuple(sorted(name for name in environment if name.startswith(PREFIX) and name not in known))
    return Resolved(_build(default, found), found, strange)


def read_file(path: Path, settings: Sequence[Setting]) -> dict[str, Any]:
    """What the file holds, by key. Raises ConfigurationError for a key that is no setting, with the nearest one."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_numbers(document)
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not TOML, or a number with too many digits
        raise ConfigurationError(f"{path}: cannot read the configuration: {error}") from error
    keys = {one.key for one in settings}
    tables = {one.table for one in settings}
    values: dict[str, Any] = {}
    for name, value in document.items():
        inside = name in tables and isinstance(value, dict)
        values |= {f"{name}.{inner}": one for inner, one in value.items()} if inside else {name: value}
    for key in values:
        if key not in keys:
            raise ConfigurationError(f"{path}: {key!r} is no setting{nearest(key, keys)}")
    return values


def _check_numbers(value: Any) -> None:
    """Python reads longer ones than it can show. Raises ValueError for a whole number that is none in TOML."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check_numbers(one)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError("it holds a whole number of more than 64 bits")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'port'?`, or nothing where nothing is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _find(
    one: Setting, flags: Mapping[str, Any], environment: Mapping[str, str], in_file: Mapping[str, Any], path: str
) -> Found:
    if flags.get(one.key) is not None:
        return Found(one, read_value(one, flags[one.key], one.flag), one.flag)
    if environment.get(one.variable):
        return Found(one, read_value(one, environment[one.variable], one.variable), one.variable)
    if one.key in in_file:
        return Found(one, read_value(one, in_file[one.key], f"{path}: {one.key}"), path)
    return Found(one, one.default, "default")


def _build(default: T, found: Sequence[Found]) -> T:
    """`default` with all that was given. What a dataclass refuses is told with its origin where one value is to blame.

    Raises ConfigurationError.
    """
    given = [one for one in found if one.given]
    try:
        built: T = _replaced(default, given)
        return built
    except ConfigurationError:
        for one in given:
            try:
                _replaced(default, [one])
            except ConfigurationError as error:
                raise ConfigurationError(f"{one.origin}: {error}") from error
        raise


def _replaced(owner: Any, given: Sequence[Found], depth: int = 0) -> Any:
    """The dataclass `owner`, `depth` steps down the paths, with these values."""
    values: dict[str, Any] = {}
    for name in dict.fromkeys(one.setting.path[depth] for one in given):
        here = [one for one in given if one.setting.path[depth] == name]
        is_leaf = len(here[0].setting.path) == depth + 1
        values[name] = here[0].value if is_leaf else _replaced(getattr(owner, name), here, depth + 1)
    return replace(owner, **values)
