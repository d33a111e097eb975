"""Charts: drawn for whatever the results hold, the same for the same data, and true to it where that can be counted."""

import json
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from matplotlib.patches import Rectangle

from tetriserve.cli import main
from tetriserve.plots import style
from tetriserve.plots.curves import attainment_curves
from tetriserve.plots.over_time import degrees_over_time, latency_distribution
from tetriserve.plots.spider import spider
from tetriserve.plots.tetris import Window, busiest, tetris


def request(name: str, arrival_s: float, finished_s: float, met: bool = True) -> dict[str, Any]:
    return {
        "request_id": name,
        "size": "512x512",
        "arrival_s": arrival_s,
        "deadline_s": arrival_s + 2.0,
        "finished_s": finished_s,
        "met_deadline": met,
        "error": None,
    }


def chunk(name: str, devices: list[int], started_s: float, finished_s: float) -> dict[str, Any]:
    return {
        "stage": "denoise",
        "request_ids": [name],
        "devices": devices,
        "num_steps": 5,
        "started_s": started_s,
        "finished_s": finished_s,
    }


SCHEDULE = {
    "policy": "tetriserve",
    "requests": [request("a", 0.0, 2.0), request("b", 1.0, 4.0, met=False)],
    "chunks": [chunk("a", [0, 1], 0.0, 1.0), chunk("a", [0, 1], 1.0, 2.0), chunk("b", [0], 2.0, 4.0)],
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """schedule.json, result.json and sweep.json."""
    directory = tmp_path_factory.mktemp("results")
    out = ["--schedule", str(directory / "schedule.json"), "--json", str(directory / "result.json")]
    main(["simulate", "--policy", "rssp,tetriserve", "--num-requests", "40", *out])
    grid = ["--rate", "12,24", "--slo-scale", "1,1.5", "--seeds", "1", "--num-requests", "20", "--jobs", "1", "--bound"]
    main(["sweep", "--json", str(directory / "sweep.json"), *grid])
    return directory


def test_every_chart_is_drawn_in_both_formats(results: Path, tmp_path: Path) -> None:
    files = [str(results / f"{name}.json") for name in ("schedule", "result", "sweep")]
    main(["plot", *files, "--out", str(tmp_path / "new" / "charts")])
    charts = {
        "schedule-schedule",
        "schedule-sar-over-time",
        "schedule-degrees-over-time",
        "schedule-latency",
        "result-sizes",
        "sweep-sar-by-scale",
        "sweep-sar-by-rate",
        "sweep-sizes",
    }
    written = {path.name for path in (tmp_path / "new" / "charts").iterdir()}
    assert written == {f"{name}.{suffix}" for name in charts for suffix in ("png", "svg")}
    with PIL.Image.open(tmp_path / "new" / "charts" / "schedule-schedule.png") as image:
        assert image.width > 1500


def test_equal_results_give_equal_files(results: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        main(["plot", str(results / "result.json"), "--out", str(tmp_path / name)])
    for suffix in ("png", "svg"):
        one, two = ((tmp_path / name / f"result-sizes.{suffix}").read_bytes() for name in ("one", "two"))
        assert one == two


def test_chunks_of_one_request_are_one_block_and_late_work_is_hatched() -> None:
    with style.drawing():
        figure = tetris([SCHEDULE], 2, Window(0.0, 5.0))
    blocks = [patch for patch in figure.axes[1].patches if isinstance(patch, Rectangle)]
    assert [(block.get_x(), block.get_width()) for block in blocks] == [(0.0, 2.0), (2.0, 2.0)]
    assert [bool(block.get_hatch()) for block in blocks] == [False, True]
    assert blocks[0].get_height() > 1.5 > blocks[1].get_height()
    assert "1 of 2 on time (50%)" in figure.axes[0].get_title(loc="left")


def test_only_the_window_is_drawn() -> None:
    figure = tetris([SCHEDULE], 2, Window(2.5, 5.0))
    assert len(figure.axes[1].patches) == 1
    assert figure.axes[1].get_xlim() == (2.5, 5.0)


def test_the_busiest_window_has_the_most_arrivals() -> None:
    arrivals_s = (0.0, 10.0, 11.0, 12.0, 30.0)
    schedule = {"requests": [request(str(at_s), at_s, at_s + 1) for at_s in arrivals_s]}
    assert busiest(schedule, 5.0) == Window(10.0, 15.0)


def test_degrees_and_latencies_are_those_of_the_schedule() -> None:
    figure = degrees_over_time([SCHEDULE])
    assert set(figure.axes[0].lines[0].get_ydata()) == {2.0}, "until the last arrival, at 1 s, two devices work"
    latencies_s = latency_distribution([SCHEDULE]).axes[0].lines[0].get_xdata()
    assert list(latencies_s) == [2.0, 3.0]


def test_curves_hold_the_means() -> None:
    rows = [
        {"mix": "uniform", "rate_per_min": 12.0, "slo_scale": scale, "policy": policy, "sar": sar}
        for policy, scale, sar in (("rssp", 1.5, 0.8), ("rssp", 1.0, 0.7), ("default", 1.0, 0.9), ("default", 1.5, 1.0))
    ]
    (axes,) = attainment_curves({"means": rows}, "slo_scale").axes
    assert [(line.get_label(), list(line.get_ydata())) for line in axes.lines] == [
        ("rssp", [0.7, 0.8]),
        ("default", [0.9, 1.0]),
    ]


def test_a_spider_needs_three_spokes() -> None:
    def row(*sizes: str) -> dict[str, Any]:
        return {"policy": "rssp", "by_size": {size: {"sar": 0.5, "num_requests": 2} for size in sizes}}

    assert spider([row("256x256", "512x512")]) is None
    figure = spider([row("512x512", "1024x1024", "256x256")])
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["256²", "512²", "1024²"]


def test_ours_keep_their_colours_in_any_company() -> None:
    assert style.policy_look("default", ["default"])["color"] == style.policy_look("default", ["a", "default"])["color"]
    looks = [style.policy_look(name, ["rssp", "edf", "srtf"])["color"] for name in ("rssp", "edf", "srtf")]
    assert len(set(looks)) == 3


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("{", [], ["cannot read results"]),
        ("[]", [], ["no results of simulate, sweep, plan or bench"]),
        ('{"schedules": [{}], "config": {"gpus": 8}}', [], ["not the results", "chunks"]),
        ('{"runs": []}', ["--format", "gif"], ["'gif'", "png, svg"]),
        ('{"runs": []}', ["--for-s", "0"], ["--for-s 0"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    text: str, options: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main(["plot", str(path), "--out", str(tmp_path), *options])
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    assert all(word in message for word in words), message


def test_a_directory_that_cannot_be_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plot", str(results / "result.json"), "--out", "/dev/null/charts"])
    assert "/dev/null/charts: cannot write charts" in capsys.readouterr().err


def test_without_matplotlib_the_message_says_what_to_install(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("tetriserve.plots")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("tetriserve.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="2"):
        main(["plot", str(results / "result.json")])
    assert "tetriserve[plots]" in capsys.readouterr().err


def test_a_schedule_without_requests_can_be_drawn() -> None:
    empty = {"policy": "rssp", "requests": [], "chunks": []}
    assert json.dumps(empty)
    assert tetris([empty], 8, busiest(empty, 10.0)).axes
