"""Formats that are lines of words: a document is the list of its words and of what stands between them."""

import re
from typing import Any

PARTS = re.compile(r"\w+|\s+|[^\w\s]")


def words(text: str) -> list[str]:
    """As a document."""
    return PARTS.findall(text)


def as_text(document: Any) -> bytes:
    """Of its words, whatever has become of them."""
    parts = document if isinstance(document, list) else [document]
    return "".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
