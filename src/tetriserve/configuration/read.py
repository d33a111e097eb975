"""One value: from the text of a flag or variable, or from what TOML holds. The same words about what is wrong."""

import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from tetriserve.configuration.declared import Setting
from tetriserve.core.errors import ConfigurationError, InvalidRequestError

SWITCH = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
MAX_SHOWN_CHARS = 60

T = TypeVar("T")


def read_value(setting: Setting, raw: Any, where: str) -> Any:
    """The value. Raises ConfigurationError that says where it stands, what stands there, and what should."""
    choices = setting.declaration.choices
    read = setting.declaration.read or (_text if choices else READERS[_plain(setting.type)])
    try:
        value = read(raw)
        if choices and value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
    except (ValueError, InvalidRequestError) as error:
        raise ConfigurationError(f"{where} {_shown(raw)}: {error}") from error
    return value


def _plain(annotation: Any) -> Any:
    """`int` of `int | None`."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (one for one in get_args(annotation) if one is not type(None))
    return annotation


def _shown(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError("must be a string")
    return raw


def _path(raw: Any) -> Path:
    try:
        return Path(_text(raw)).expanduser()
    except RuntimeError as error:  # nobody of that name
        raise ValueError(str(error)) from error


def _whole_number(raw: Any) -> int:
    try:
        return int(raw) if isinstance(raw, str) else _exactly(int, raw)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _number(raw: Any) -> float:
    try:
        return float(raw) if isinstance(raw, str | int) and not isinstance(raw, bool) else _exactly(float, raw)
    except (ValueError, OverflowError):
        raise ValueError("must be a number") from None


def _switch(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if isinstance(raw, str) and raw.lower() in SWITCH:
        return SWITCH[raw.lower()]
    raise ValueError("must be true or false")


def _exactly(wanted: type[T], raw: Any) -> T:
    if type(raw) is not wanted:
        raise ValueError
    return raw


def _texts(raw: Any) -> tuple[str, ...]:
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be strings, as a list or with commas between them")
    return tuple(part.strip() for part in parts if part.strip())


READERS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _whole_number,
    float: _number,
    bool: _switch,
    Path: _path,
    tuple[str, ...]: _texts,
}
"""By type. A setting of another type brings its own."""
