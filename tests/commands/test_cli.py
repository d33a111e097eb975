import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

import tetriserve
from tetriserve.cli import main
from tetriserve.core.errors import InvalidRequestError


def run(*arguments: str, timeout: float = 150) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tetriserve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)


def size_of(path: Path) -> tuple[int, int]:
    with PIL.Image.open(path) as image:
        return image.size


def test_help_names_every_command() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in ("generate", "serve", "demo", "profile"))


def test_the_command_line_answers_without_importing_torch() -> None:
    code = "import sys, tetriserve.cli; tetriserve.cli.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.usefixtures("logging_of_pytest")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("generate", ""), ["prompt", "empty"]),
        (("generate", "x" * 32_001), ["32001", "32000"]),
        (("generate", "x", "--size", "17x17"), ["17x17", "16"]),
        (("generate", "x", "--size", "0x0"), ["0x0"]),
        (("generate", "x", "--size", "100000x100000"), ["100000x100000", "pixels"]),
        (("generate", "x", "--steps", "0"), ["0", "1", "200"]),
        (("generate", "x", "--steps", "1000000000"), ["1e+09", "200"]),
        (("generate", "x", "-n", "99"), ["99", "10"]),
        (("generate", "x", "--guidance-scale", "nan"), ["nan", "100"]),
        (("generate", "x", "--seed", "-1"), ["-1"]),
        (("generate", "x", "--devices", "tpu"), ["tpu", "cpu:N"]),
        (("generate", "x", "--model", "/nowhere"), ["/nowhere"]),
        (("generate", "x", "--out", "/nowhere/x.png"), ["/nowhere/x.png"]),
        (("generate",), ["prompt", "--help"]),
        (("serve", "--policy", "best"), ["best", "tetriserve"]),
        (("serve", "--sizes", "256"), ["256", "WIDTHxHEIGHT"]),
        (("serve", "--slo", "256x256=never"), ["never"]),
        (("serve", "--port", "70000"), ["70000"]),
        (("serve", "--tetriserve-round-s", "0"), ["--tetriserve-round-s", "round_s is 0"]),
        (("serve", "--dtype", "int8"), ["--dtype", "int8", "bfloat16"]),
        (("profile", "--repetitions", "0"), ["0", "3"]),
        (("profile", "--out", "/nowhere/p.json"), ["/nowhere/p.json"]),
        (("demo", "--load", "0"), ["0"]),
        (("nothing",), ["nothing"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: tuple[str, ...],
    words: list[str],
    tiny_model_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # another server may run on the user's own
    if arguments[0] in ("generate", "serve", "demo") and "--model" not in arguments:
        arguments = (*arguments, "--model", str(tiny_model_dir))
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert len(said.splitlines()) == 1, said
    assert all(word in said for word in words), said


def test_generate_writes_the_image(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    options = ("--model", str(tiny_model_dir), "--size", "64x96", "--steps", "2", "--seed", "3", "--out", str(out))
    shown = run("generate", "a red cat", *options)
    assert shown.returncode == 0, shown.stderr
    assert "seed 3" in shown.stdout
    assert size_of(out) == (64, 96)


def test_the_library_does_the_same_in_three_lines(tiny_model_dir: Path, tmp_path: Path) -> None:
    with tetriserve.Pipeline(tiny_model_dir) as pipeline:
        pipeline.generate("a red cat", size="64x96", seed=3).save(tmp_path / "cat.png")
        with pytest.raises(InvalidRequestError, match="17x17"):
            pipeline.generate("a red cat", size="17x17")
    assert size_of(tmp_path / "cat.png") == (64, 96)
