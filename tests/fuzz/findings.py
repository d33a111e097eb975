"""What was found: each fault once, with the input that shows it, in a folder that several processes write to."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Findings:
    """NAME.DIGEST.input holds the bytes, NAME.DIGEST.txt what they did."""

    directory: Path

    def add(self, name: str, data: bytes, what: str) -> None:
        """Faults that differ only in numbers and quoted values are one."""
        kind = re.sub(r"\d+|'.*'|\".*\"", "", what)
        stem = f"{_plain(name)}.{hashlib.sha256(kind.encode('utf-8', 'replace')).hexdigest()[:8]}"
        if not (self.directory / f"{stem}.txt").exists():
            (self.directory / f"{stem}.input").write_bytes(data)
            (self.directory / f"{stem}.txt").write_text(what, encoding="utf-8", errors="backslashreplace")

    def clear(self, names: Collection[str]) -> None:
        """Forget what was found of these before, and be a folder."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in names:
            for path in self.directory.glob(f"{_plain(name)}.????????.*"):
                path.unlink()

    def of(self, name: str) -> int:
        """How many a target has."""
        return len(list(self.directory.glob(f"{_plain(name)}.????????.txt")))


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name)
