"""Flags for settings: one each, under the title of its group. What they mean is checked when they are resolved."""

import argparse
from collections.abc import Collection
from pathlib import Path

from tetriserve.configuration.declared import Setting, declared
from tetriserve.configuration.resolve import CONFIG_VARIABLE
from tetriserve.configuration.show import as_argument
from tetriserve.configuration.tree import Configuration
from tetriserve.grammar.parser import Parser


def add_settings(parser: Parser, *keys: str, without: Collection[str] = ()) -> None:
    """Flags for the settings of these keys, or for all, and `--config`. None is what no flag was given for."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"TOML file with settings (or {CONFIG_VARIABLE}); flags win over it"
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for setting in declared(Configuration):
        if setting.key not in without and (not keys or setting.key in keys):
            if setting.group not in groups:
                groups[setting.group] = parser.add_argument_group(setting.group)
            _add(groups[setting.group], setting)


def _add(group: argparse._ArgumentGroup, setting: Setting) -> None:
    shown = _help(setting).replace("%", "%%")
    if setting.type is bool:
        group.add_argument(setting.flag, dest=setting.key, action=argparse.BooleanOptionalAction, help=shown)
    else:
        metavar = "{" + ",".join(setting.declaration.choices) + "}" if setting.declaration.choices else None
        metavar = setting.declaration.metavar or metavar or setting.name.upper()
        group.add_argument(setting.flag, dest=setting.key, metavar=metavar, help=shown)


def _help(setting: Setting) -> str:
    text = setting.declaration.help
    default = as_argument(setting, setting.default)
    return text if default is None or "(default" in text else f"{text} (default {default})"
