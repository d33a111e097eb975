"""How a setting is declared: a field of a frozen dataclass that also says how people read and write it.

    @dataclass(frozen=True, slots=True)
    class ListenConfig:
        port: int = setting(8000, "port to listen on; 0 takes any free one", metavar="N")

From this one line follow `port = 9000` in the TOML file, `--port 9000` and `TETRISERVE_PORT=9000`; see `configuration`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

KEY = "setting"
"""Where a dataclass field's metadata holds the declaration, or the group."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is not in the field itself.

    `name`: the key, where it differs from the field's name. `read` turns text, or what TOML holds, into the value, or
    raises ValueError. `write` turns the value into what TOML holds; None means that there is nothing to write.
    """

    help: str
    name: str | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    read: Callable[[Any], Any] | None = None
    write: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that stand together: under a title in the help and, if `table`, in a table of the TOML file."""

    title: str
    table: bool = False


def setting(default: Any, help: str, **rest: Any) -> Any:
    """A field that is a setting; `rest` as in Declaration. The field's type says how it is read."""
    metadata = {KEY: Declaration(help, **rest)}
    if type(default).__hash__ is None:  # a mapping, which a dataclass takes for something that is changed
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def group(factory: Callable[[], Any], title: str, table: bool = False) -> Any:
    """A field that holds a dataclass of settings. In a table its keys are `[field] key`, else just `key`."""
    return field(default_factory=factory, metadata={KEY: Group(title, table)})
