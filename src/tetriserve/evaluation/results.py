"""The folder of results: one small file a cell, written at once and whole, so that a run can be stopped anywhere.

DIR/STUDY/MACHINE/ holds a profile and cells of each model. Results of another kind of machine are another folder.
"""

import gzip
import json
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetriserve.core.errors import ConfigurationError
from tetriserve.cost.profile import Profile

SUFFIX = ".json.gz"
DONE, FAILED = "done", "failed"


@dataclass(frozen=True, slots=True)
class Results:
    """Of one study on one kind of machine."""

    directory: Path

    @classmethod
    def of(cls, root: Path, study: str, machine: str) -> "Results":
        """The folder, which need not be there yet."""
        return cls(root / study / re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-"))

    @classmethod
    def all(cls, root: Path, study: str) -> "list[Results]":
        """Of every machine that has run any of it."""
        return [cls(path) for path in sorted((root / study).glob("*")) if path.is_dir()]

    @property
    def logs(self) -> Path:
        """What servers said: to look for faults in, not to be kept."""
        return self.directory / "logs"

    def read(self, cell_id: str) -> dict[str, Any] | None:
        """What was measured, or None. Raises ConfigurationError for a file that is none of ours."""
        path = self._path(cell_id)
        try:
            document = json.loads(gzip.decompress(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
            raise ConfigurationError(f"{path}: not a result: {error}") from error
        if not isinstance(document, dict) or document.get("status") not in (DONE, FAILED):
            raise ConfigurationError(f"{path}: not a result: its status is neither {DONE} nor {FAILED}")
        return document

    def status(self, cell_id: str) -> str | None:
        """DONE, FAILED, or None."""
        found = self.read(cell_id)
        return None if found is None else str(found["status"])

    def write(self, cell_id: str, document: dict[str, Any]) -> None:
        """Equal documents give equal bytes."""
        _put(self._path(cell_id), gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0))

    def profile(self, model: str) -> Profile | None:
        """The times that a model's cells are planned with, once they are measured."""
        path = self.profile_path(model)
        return Profile.load(path) if path.is_file() else None

    def keep_profile(self, model: str, profile: Profile) -> None:
        """For all later servers and simulations."""
        _put(self.profile_path(model), profile.to_json().encode())

    def profile_path(self, model: str) -> Path:
        """Where it is."""
        return self.directory / f"{_plain(model)}.profile.json"

    def cell_ids(self) -> Iterator[str]:
        """Of all that was tried."""
        for path in sorted(self.directory.rglob(f"*{SUFFIX}")):
            yield path.relative_to(self.directory).as_posix().removesuffix(SUFFIX)

    def _path(self, cell_id: str) -> Path:
        return self.directory / f"{cell_id}{SUFFIX}"


def _plain(model: str) -> str:
    return model.removeprefix("random:").rstrip("/").rpartition("/")[2]


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)
