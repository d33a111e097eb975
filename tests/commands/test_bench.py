"""`tetriserve bench serve`, on another's server and on ours."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.foreign import Foreign, foreign_server
from tetriserve.cli import main

LOAD = ("--mix", "64x64=1,96x96=1,128x128=1", "--rate", "1200", "--num-requests", "20", "--steps", "4", "--seed", "3")


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    with foreign_server() as running:
        yield running


def bench(*arguments: str) -> None:
    main(["bench", "serve", *arguments])


def test_another_server_is_measured_drawn_and_compared(
    foreign: Foreign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    bench("--url", f"{foreign.url}/v1/", *LOAD, "--json", str(first), "--plots", str(tmp_path / "charts"))
    foreign.statuses = dict.fromkeys(range(10), 429)
    bench("--url", foreign.url, *LOAD, "--json", str(second), "--warm-up", "0", "--name", "full")
    shown = capsys.readouterr().out
    assert "10 x 429: too many" in shown
    documents = [json.loads(path.read_text()) for path in (first, second)]
    assert [one["runs"][0]["sar"] for one in documents] == [1.0, 0.5]
    assert documents[0]["runs"][0]["policy"] == "black-forest-labs/FLUX.1"
    assert documents[0]["config"]["complete"]
    assert len(foreign.bodies) == 3 + 20 + 20
    bench("--compare", str(first), str(second), "--plots", str(tmp_path / "both"))
    assert "only black-forest-labs/FLUX.1: 10" in " ".join(capsys.readouterr().out.split())
    for folder in ("charts", "both"):
        kinds = {path.stem.rpartition("-")[2] for path in (tmp_path / folder).iterdir()}
        assert kinds == {"sizes", "time", "latency"}
    main(["plot", str(first), "--out", str(tmp_path / "again"), "--format", "svg"])
    assert len(list((tmp_path / "again").iterdir())) == 3


def test_a_trace_and_deadlines_by_size(foreign: Foreign, tmp_path: Path) -> None:
    trace, out = tmp_path / "t.jsonl", tmp_path / "out.json"
    main(["workload", "--mix", "homogeneous:64", "--rate", "6000", "--num-requests", "4", "--out", str(trace)])
    bench("--url", foreign.url, "--trace", str(trace), "--slo", "64x64=0.5", "--slo-scale", "2", "--json", str(out))
    assert [body.get("slo_ms") for body in foreign.bodies] == [None] + [1000.0] * 4
    assert json.loads(out.read_text())["config"]["trace"] == str(trace)


def test_a_run_without_an_image_is_shown_and_drawn_too(
    foreign: Foreign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign.statuses = dict.fromkeys(range(20), 500)
    bench("--url", foreign.url, *LOAD, "--warm-up", "0", "--plots", str(tmp_path))
    assert "20 x 500" in capsys.readouterr().out
    assert (tmp_path / "bench-latency.png").is_file()


def test_ctrl_c_prints_what_there_is(foreign: Foreign, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from tetriserve.cli import main; main()"
    options = ("--url", foreign.url, "--mix", "homogeneous:64", "--rate", "600", "--num-requests", "9999")
    command = [sys.executable, "-c", code, "bench", "serve", *options, "--json", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until_s = time.monotonic() + 30
    while len(foreign.bodies) < 20 and time.monotonic() < until_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == ""
    assert "are not counted" in shown
    document = json.loads(out.read_text())
    assert not document["config"]["complete"]
    assert 5 <= document["runs"][0]["num_requests"] < 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--url", "localhost:8000"), ["localhost:8000", "http://"]),
        (("--extra-body", "{"), ["--extra-body", "JSON"]),
        (("--extra-body", "[]"), ["--extra-body", "object"]),
        (("--slo", "64=1"), ["--slo", "WIDTHxHEIGHT"]),
        (("--warm-up", "-1"), ["--warm-up -1"]),
        (("--max-connections", "0"), ["--max-connections 0"]),
        (("--timeout-s", "nan"), ["--timeout-s nan"]),
        (("--api-key-file", "/nowhere"), ["/nowhere"]),
        (("--json", "/nowhere/x.json"), ["/nowhere/x.json"]),
        (("--trace", "/nowhere"), ["/nowhere"]),
        (("--compare", "/nowhere", "/nowhere"), ["/nowhere"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        bench(*arguments)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert all(word in message for word in words), message


def test_no_server_is_one_line_and_exit_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        bench("--url", "http://127.0.0.1:9")
    assert caught.value.code == 1
    assert "is the server up?" in capsys.readouterr().err
