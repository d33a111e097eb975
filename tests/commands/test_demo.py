import os
import subprocess
import sys
from pathlib import Path

import pytest

from tetriserve.cost.profile import Profile


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(cache_dir: Path, *arguments: str) -> str:
    environment = os.environ | {"XDG_CACHE_HOME": str(cache_dir), "COLUMNS": "160"}
    command = [sys.executable, "-m", "tetriserve", *arguments]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def test_profile_measures_every_size_and_degree_and_stores_it(
    tiny_model_dir: Path, cache_dir: Path, tmp_path: Path
) -> None:
    out = tmp_path / "profile.json"
    options = ("--model", str(tiny_model_dir), "--sizes", "64x64,128x128", "--repetitions", "3")
    shown = run(cache_dir, "profile", *options, "--out", str(out))
    profile = Profile.load(out)
    assert [(str(entry.size), entry.degree) for entry in profile.entries] == [
        ("64x64", 1),
        ("64x64", 2),
        ("128x128", 1),
        ("128x128", 2),
    ]
    assert len(profile.stages) == 4
    assert profile.switch_s is not None
    (stored,) = (cache_dir / "tetriserve" / "profiles").iterdir()
    assert stored.read_text() == out.read_text()
    assert str(stored) in shown


def test_demo_serves_twelve_images_and_shows_how_it_went(tiny_model_dir: Path, cache_dir: Path, tmp_path: Path) -> None:
    options = ("--model", str(tiny_model_dir), "--sizes", "64x64,128x128", "--out", str(tmp_path / "demo"))
    shown = run(cache_dir, "demo", *options)
    images = sorted(path.name for path in (tmp_path / "demo").glob("r*.png"))
    assert len(images) == 12
    assert (tmp_path / "demo" / "contact-sheet.png").is_file()
    assert "served here" in shown
    assert "simulated from the measured profile" in shown
    assert "fixed-sp2" in shown
