"""The settings that a tree of dataclasses declares."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints

from tetriserve.core.setting import KEY, Declaration, Group

PREFIX = "TETRISERVE_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `path` leads to the field; `table` is None at the top of the TOML file."""

    path: tuple[str, ...]
    table: str | None
    name: str
    group: str
    type: Any
    default: Any
    declaration: Declaration

    @property
    def key(self) -> str:
        """Its name in the TOML file: `port`, `default.chunk_s`."""
        return self.name if self.table is None else f"{self.table}.{self.name}"

    @property
    def flag(self) -> str:
        """Its flag: `--port`, `--default-chunk-s`."""
        return "--" + self.key.replace(".", "-").replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable: `TETRISERVE_PORT`, `TETRISERVE_DEFAULT_CHUNK_S`."""
        return PREFIX + self.key.replace(".", "_").upper()


def declared(root: type[Any]) -> tuple[Setting, ...]:
    """All settings of a dataclass and of the groups in it, in the order of the fields."""
    return tuple(_walk(root, (), None, ""))


def _walk(owner: type[Any], path: tuple[str, ...], table: str | None, title: str) -> Iterator[Setting]:
    types = get_type_hints(owner)
    for one in fields(owner):
        about = one.metadata.get(KEY)
        here = (*path, one.name)
        if isinstance(about, Group):
            yield from _walk(types[one.name], here, one.name if about.table else table, about.title)
        elif isinstance(about, Declaration):
            yield Setting(here, table, about.name or one.name, title, types[one.name], _default(one), about)


def _default(one: "Field[Any]") -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()
