"""What `tetriserve serve` refuses before it opens anything, and `config` as well."""

import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tetriserve.cli import main
from tetriserve.commands import serve
from tetriserve.models import hub


def unreached(*_: object, **__: object) -> NoReturn:
    raise AssertionError("something was opened")


@pytest.fixture
def nothing_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logging_of_pytest: None) -> Path:
    """The directory of state, in which nothing may be written; nor may anything be listened to or downloaded."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(serve, "bind", unreached)
    monkeypatch.setattr(hub, "download", unreached)
    return tmp_path


@pytest.mark.parametrize("command", ["serve", "config"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--policy", "nonsense"), ["nonsense", "tetriserve"]),
        (("--policy", "nonsense", "--model", "owner/name"), ["nonsense", "tetriserve"]),
        (("--policy", "nowhere:policy"), ["nowhere:policy", "PYTHONPATH"]),
        (("--policy", "fixed-sp4", "--devices", "cpu:2"), ["needs 4 devices", "there are 2"]),
        (("--devices", "cpu:0"), ["'cpu:0'", "from 1 to 64"]),
        (("--model", "random:sd3-medium", "--sizes", "4096x512"), ["4096x512", "up to 3072 pixels"]),
        (("--model", "random:sd3-medium", "--revision", "main"), ["'main'", "only the hub has revisions"]),
        (("--profile", "nowhere.json"), ["nowhere.json", "cannot read the profile"]),
        (("--transformer", "nowhere.safetensors"), ["nowhere.safetensors", "no such file"]),
        (("--api-key-file", "nowhere"), ["nowhere", "No such file"]),
        (("--job-store", "postgresql://x@127.0.0.1:many/none"), ["job_store", "no URL of a database"]),
    ],
)
def test_bad_settings_are_refused_before_anything_is_opened(
    command: str,
    arguments: tuple[str, ...],
    words: list[str],
    nothing_opened: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, *arguments])
    shown, said = capsys.readouterr()
    assert (end.value.code, shown) == (2, ""), said
    assert len(said.splitlines()) == 1, said
    assert all(word in said for word in words), said
    assert list(nothing_opened.iterdir()) == []


@pytest.mark.parametrize("command", ["serve", "config"])
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("psycopg", ("--job-store", "postgresql://x@127.0.0.1/none")),
        ("opentelemetry", ("--otlp-endpoint", "http://127.0.0.1:4318")),
    ],
)
def test_a_missing_extra_is_told_before_anything_is_opened(
    command: str,
    module: str,
    arguments: tuple[str, ...],
    nothing_opened: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "tetriserve.server.spans", raising=False)
    with pytest.raises(SystemExit) as end:
        main([command, *arguments])
    assert end.value.code == 2
    assert "pip install 'tetriserve[" in capsys.readouterr().err
    assert list(nothing_opened.iterdir()) == []
