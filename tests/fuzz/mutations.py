"""Documents that are nearly right: a value of the wrong kind, a key that is missing, strange, or there twice, noise."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from fuzz.target import DEEP, Target

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    17,
    2**31,
    2**63,
    -(2**64),
    10**30,
    10**400,
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "0",
    "1e999",
    "NaN",
    "256x256",
    "1_000",
    "٣",
    "x" * 3000,
    "a\nb\r\u2028c",
    "\x00",
    "\ud800",
    "é\u202e\U0001f34e",
    "../../etc",
    "0001-01-01T00:00:00+23:59",
    "9" * 5000,
    "0x" + "f" * 5000,
    [],
    {},
    [[]],
    [1, "a"],
    {"a": 1},
    {"": None},
    DEEP,
)
NOISE = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b'"',
    b"{",
    b"]",
    b",",
    b"\n",
    b"\r",
    b"[" * 3000,
    b"NaN",
    b"-",
    b"9" * 400,
)

any_values = st.integers() | st.floats() | st.text(max_size=20)
known_values = st.sampled_from(ODD).map(copy.deepcopy)
odd_values = st.integers(0, 3).flatmap(lambda number: known_values if number else any_values)
"""Three of four are known to be trouble."""


@st.composite
def nearly_right(draw: st.DrawFn, target: Target) -> bytes:
    """Bytes for a target: one of its documents with up to three changes."""
    document = copy.deepcopy(draw(st.sampled_from(target.documents)))
    for _ in range(draw(st.integers(0, 3))):
        document = _changed(draw, document)
    try:
        data = target.write(document)
    except (TypeError, ValueError, OverflowError):  # the format has no such value
        data = json.dumps(document, default=str).encode()
    if draw(st.integers(0, 5)) == 0 and data.endswith(b"}"):
        key = draw(st.sampled_from([*document] if isinstance(document, dict) and document else ["a"]))
        data = data[:-1] + b", " + json.dumps(key).encode() + b": null}"
    return _with_noise(draw, data) if draw(st.integers(0, 3)) == 0 else data


def _changed(draw: st.DrawFn, document: Any) -> Any:
    places = list(_places(document))
    if not places:
        return draw(odd_values)
    owner, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["replace", "replace", "replace", "delete", "add", "wrap", "other", "whole"])):
        case "replace":
            owner[key] = draw(odd_values)
        case "delete":
            del owner[key]
        case "add" if isinstance(owner, dict):
            owner[draw(st.text(max_size=8) | st.sampled_from([one for one in ODD if isinstance(one, str)]))] = owner[
                key
            ]
        case "add":
            owner.insert(key, draw(odd_values))
        case "wrap":
            owner[key] = [owner[key]]
        case "other":
            other, place = draw(st.sampled_from(places))
            owner[key] = copy.deepcopy(other[place])
        case _:
            return draw(odd_values) if draw(st.integers(0, 3)) == 0 else document
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of a document, as what holds it and under what."""
    if not isinstance(document, dict | list):
        return
    for key, value in list(document.items() if isinstance(document, dict) else enumerate(document)):
        yield document, key
        yield from _places(value)


def _with_noise(draw: st.DrawFn, data: bytes) -> bytes:
    first = draw(st.integers(0, len(data)))
    last = draw(st.integers(first, min(len(data), first + 8)))
    cut = draw(st.booleans())
    noise = draw(st.sampled_from(NOISE) | st.binary(max_size=8))
    return data[:first] + noise + (b"" if cut else data[last:])
