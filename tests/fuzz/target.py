"""What is fuzzed: a function that reads something, documents that it can read, and what it may say against others."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tetriserve.core.errors import MAX_CHARS, ConfigurationError

MAX_CASE_S = 3.0
DEEP = "@deep@"
"""Stands in a document for lists in lists, which no JSON writer would write."""
DEPTH = 20_000


class FindingError(Exception):
    """Something else than success or one of the target's own errors."""


def as_json(document: Any) -> bytes:
    """With NaN and lone surrogates, where the document has them."""
    text = json.dumps(document, default=str).replace(json.dumps(DEEP), "[" * DEPTH + "]" * DEPTH)
    return text.encode()


@dataclass(frozen=True)
class Target:
    """`read` gets the bytes and a folder to put them in. `worded`: people read its errors, so they fit a line.

    `share` of the cases that others get.
    """

    name: str
    read: Callable[[bytes, Path], object]
    documents: tuple[Any, ...]
    write: Callable[[Any], bytes] = as_json
    errors: tuple[type[Exception], ...] = (ConfigurationError,)
    worded: bool = True
    share: float = 1.0

    def check(self, data: bytes, folder: Path) -> None:
        """Raises FindingError. What takes long does so twice: the first time may have been an import's."""
        spent_s = self._read(data, folder)
        if spent_s > MAX_CASE_S:
            spent_s = self._read(data, folder)
        if spent_s > MAX_CASE_S:
            raise FindingError(f"took {spent_s:.1f} s")

    def _read(self, data: bytes, folder: Path) -> float:
        """How many seconds of the processor it takes."""
        started_s = time.process_time()
        try:
            self.read(data, folder)
        except self.errors as error:
            if self.worded:
                check_words(str(error))
        except Exception as error:
            raise FindingError(f"{type(error).__name__}: {str(error)[:200]}") from error
        return time.process_time() - started_s


def check_words(text: str) -> None:
    """Raises FindingError for an error text that is no line of words, or longer than the product lets its own be."""
    if not text.strip() or len(text) > MAX_CHARS or not text.isprintable():
        raise FindingError(f"error text of {len(text)} characters that is no line of words: {text[:200]!r}")
