"""`tetriserve config`, and the reference in the documentation."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tetriserve.cli import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TETRISERVE_CONFIG", "TETRISERVE_PORT"):
        monkeypatch.delenv(name, raising=False)


def test_every_value_is_shown_with_its_origin_in_a_file_that_can_be_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "serve.toml"
    path.write_text('policy = "edf"\n')
    monkeypatch.setenv("TETRISERVE_DEFAULT_CHUNK_S", "0.5")
    main(["config", "--config", str(path), "--port", "9000", "--no-tetriserve-elastic"])
    shown = capsys.readouterr().out
    origins = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in shown.splitlines() if " = " in line}
    assert origins["port"] == "--port"
    assert origins["policy"] == str(path)
    assert origins["chunk_s"] == "TETRISERVE_DEFAULT_CHUNK_S"
    assert origins["elastic"] == "--tetriserve-elastic"
    assert origins["host"] == "default"
    monkeypatch.delenv("TETRISERVE_DEFAULT_CHUNK_S")
    path.write_text(shown)
    main(["config", "--config", str(path)])
    assert tomllib.loads(capsys.readouterr().out) == tomllib.loads(shown)
    assert tomllib.loads(shown)["default"]["chunk_s"] == 0.5


def test_an_unknown_key_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "serve.toml"
    path.write_text("prot = 1\n")
    with pytest.raises(SystemExit) as caught:
        main(["config", "--config", str(path)])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"tetriserve: {path}: 'prot' is no setting; did you mean 'port'?\n"


@pytest.mark.parametrize(
    "arguments",
    [("--devices", "cuda:64"), ("--devices", "cuda", "--policy", "fixed-sp8"), ("--model", "owner/name")],
)
def test_what_only_a_gpu_or_a_download_can_tell_is_left_to_serve(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["config", *arguments])
    shown = tomllib.loads(capsys.readouterr().out)
    assert shown[arguments[0].strip("-")] == arguments[1]


def test_it_answers_without_torch_and_the_web_framework() -> None:
    code = "import sys; from tetriserve.cli import main; main(['config']); print({'torch', 'fastapi'} & {*sys.modules})"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.endswith("set()\n")


def test_the_document_holds_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "--reference"])
    assert DOCUMENT.read_text().endswith(capsys.readouterr().out), "run: tetriserve config --reference"
