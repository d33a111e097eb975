"""Profile files."""

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.builders import make_cost
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.profile import Profile
from tetriserve.cost.store import ProfileStore

PROFILE = make_cost(8, 0.1, 0.2, 0.001).profile


def test_a_profile_is_read_back_as_written() -> None:
    assert Profile.from_json(PROFILE.to_json()) == PROFILE


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"format": 2}, "format 2, need 1"),
        ({"entries": []}, "no entry of degree 1"),
        ({"surprise": 1}, "surprise"),
        ({"stages": [{"stage": "dream"}]}, "dream"),
    ],
)
def test_an_unusable_profile_is_named_with_its_fault(change: dict[str, Any], fault: str) -> None:
    text = json.dumps({**json.loads(PROFILE.to_json()), **change})
    with pytest.raises(ConfigurationError, match=f"my.json: not a usable profile.*{fault}"):
        Profile.from_json(text, "my.json")


@pytest.mark.parametrize("step_s", [0, -1.0, float("nan"), float("inf")])
def test_times_must_be_positive(step_s: float) -> None:
    raw = json.loads(PROFILE.to_json())
    raw["entries"][0]["step_s"] = step_s
    with pytest.raises(ConfigurationError, match="out of range"):
        Profile.from_json(json.dumps(raw))


def test_a_time_that_is_no_number_is_named_with_its_entry() -> None:
    raw = json.loads(PROFILE.to_json())
    raw["entries"][0]["step_s"] = "fast"
    with pytest.raises(ConfigurationError, match=r"width=256, .* step_s='fast'.* not a number"):
        Profile.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a usable profile"):
        Profile.from_json(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.json: cannot read"):
        Profile.load(tmp_path / "none.json")


def test_the_store_finds_only_what_covers_the_wish(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path / "profiles")
    path = store.path(tmp_path, "toy", "cpu", "float32")
    assert store.find(path, (Size(256, 256),), 8) is None
    store.save(path, PROFILE)
    assert store.find(path, (Size(256, 256),), 8) == PROFILE
    assert store.find(path, (Size(768, 768),), 8) is None
    assert store.find(path, (Size(256, 256),), 16) is None


def test_another_network_has_another_file(tmp_path: Path) -> None:
    store = ProfileStore(tmp_path)
    before = store.path(tmp_path, "toy", "cpu", "float32")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert store.path(tmp_path, "toy", "cpu", "float32") != before


@pytest.mark.parametrize(
    "change", [{"width": 15}, {"height": 2.5}, {"degree": True}, {"batch": 10**400}, {"step_s": 10**400}]
)
def test_numbers_that_no_measurement_gives_are_refused(change: dict[str, Any]) -> None:
    raw = json.loads(PROFILE.to_json())
    raw["entries"].append(raw["entries"][0] | change)
    with pytest.raises(ConfigurationError, match="out of range"):
        Profile.from_json(json.dumps(raw))


@pytest.mark.parametrize(("name", "value"), [("model", None), ("switch_s", "soon"), ("switch_s", float("nan"))])
def test_the_rest_of_a_profile_is_looked_at(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is {value!r}, must be"):
        Profile.from_json(json.dumps(json.loads(PROFILE.to_json()) | {name: value}))
