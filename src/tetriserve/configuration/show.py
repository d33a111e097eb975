"""Settings as people read them: the resolved ones as a TOML file with origins, and the reference of all there are."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from tetriserve.configuration.declared import Setting
from tetriserve.configuration.resolve import Found

COMMENT_COLUMN = 40
WIDTH = 110


def as_toml(found: Iterable[Found]) -> str:
    """A TOML file that gives the same configuration; behind every value its origin. What is not set is a comment."""
    lines = []
    for table, members in groupby(
        sorted(found, key=lambda one: one.setting.table or ""), lambda one: one.setting.table
    ):
        lines += ["", f"[{table}]"] if table else []
        for one in members:
            text = as_text(one.setting, one.value)
            shown = f"# {one.setting.name} is not set" if text is None else f"{one.setting.name} = {text}"
            lines.append(f"{shown:{COMMENT_COLUMN}}  # {one.origin}")
    return "\n".join(lines) + "\n"


def as_text(setting: Setting, value: Any) -> str | None:
    """A value as TOML; None where nothing is set."""
    plain = _plain(setting, value)
    return None if plain is None else _toml(plain)


def as_argument(setting: Setting, value: Any) -> str | None:
    """A value as one types it after the flag; None where nothing is set."""
    plain = _plain(setting, value)
    if isinstance(plain, Mapping):
        return ",".join(f"{key}={one}" for key, one in plain.items())
    if isinstance(plain, list | tuple):
        return ",".join(plain)
    return _toml(plain) if isinstance(plain, bool) else None if plain is None else str(plain)


def reference(settings: Sequence[Setting]) -> str:
    """Every setting as a list in Markdown, group by group."""
    lines = []
    for title, members in groupby(settings, lambda one: one.group):
        lines += ["", f"### {title[0].upper()}{title[1:]}", ""]
        for one in members:
            default = as_text(one, one.default)
            value = "not set" if default is None else f"`{default}`"
            lines += [f"- `{one.key}`: {value}. `{one.flag}`, `{one.variable}`."]
            lines += textwrap.wrap(_sentence(one), WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def _sentence(one: Setting) -> str:
    text, choices = one.declaration.help, one.declaration.choices
    listed = f" ({', '.join(choices)})" if choices else ""
    return f"{text}{listed}."


def _plain(setting: Setting, value: Any) -> Any:
    """As TOML's own types."""
    return value if value is None or setting.declaration.write is None else setting.declaration.write(value)


def _toml(value: Any) -> str:
    """What settings hold: switches, numbers, strings, lists and tables of those."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, float):
        return repr(value)
    # Strings of JSON are strings of TOML, but for one character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
