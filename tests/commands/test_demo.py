"""Commands in this process: that programs start and end is proved elsewhere."""

from pathlib import Path

import pytest

from tetriserve.cli import main
from tetriserve.cost.profile import Profile


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def at_home(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir))
    monkeypatch.setenv("COLUMNS", "160")


def test_profile_measures_every_size_and_degree_and_stores_it(
    tiny_model_dir: Path, cache_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "profile.json"
    options = ("--model", str(tiny_model_dir), "--sizes", "64x64,128x128", "--repetitions", "3")
    main(["profile", *options, "--out", str(out)])
    shown = capsys.readouterr().out
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


def test_demo_serves_twelve_images_and_shows_how_it_went(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", str(tiny_model_dir), "--sizes", "64x64,128x128", "--out", str(tmp_path / "demo"))
    main(["demo", *options])
    shown = capsys.readouterr().out
    images = sorted(path.name for path in (tmp_path / "demo").glob("r*.png"))
    assert len(images) == 12
    assert (tmp_path / "demo" / "contact-sheet.png").is_file()
    assert "served here" in shown
    assert "simulated from the measured profile" in shown
    assert "fixed-sp2" in shown
