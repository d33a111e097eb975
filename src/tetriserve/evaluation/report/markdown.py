"""Tables and numbers as Markdown."""

import math
from collections.abc import Iterable, Sequence

MISSING = "-"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns but the first are aligned right."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float | None, digits: int = 2) -> str:
    """Fixed digits; a dash for what is not known."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """`.87`, as shares on time are written throughout."""
    return number(value).replace("0.", ".", 1) if value is not None and value < 1 else number(value)


def percent(value: float | None, digits: int = 0) -> str:
    """Signed, where it is negative."""
    return MISSING if value is None or math.isnan(value) else f"{100 * value:.{digits}f} %"


def slashes(values: Sequence[str]) -> str:
    """One column for several scales; a single dash where nothing is known."""
    return MISSING if all(value == MISSING for value in values) else " / ".join(values)


def bold(values: Sequence[float | None]) -> list[str]:
    """Shares, the greatest in bold."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    best = max(known, default=math.nan)
    return [f"**{share(value)}**" if value == best else share(value) for value in values]
