"""workload, simulate and sweep from the command line."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tetriserve.cli import main
from tetriserve.core.size import Size
from tetriserve.cost.packaged import load_profile
from tetriserve.workload.trace import read_trace


def call(*arguments: str) -> None:
    main(list(arguments))


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    return message


def simulate(tmp_path: Path, *arguments: str) -> dict:  # type: ignore[type-arg]
    out = tmp_path / "out.json"
    call("simulate", "--num-requests", "40", "--json", str(out), *arguments)
    return json.loads(out.read_text())  # type: ignore[no-any-return]


def test_a_workload_is_written_and_simulated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace, out = tmp_path / "t.jsonl", tmp_path / "out.json"
    call("workload", "--mix", "skewed", "--num-requests", "30", "--slo-scale", "1.5", "--out", str(trace))
    assert {entry.slo_s for entry in read_trace(trace)} <= {2.25, 3.0, 4.5, 7.5}
    call("simulate", "--trace", str(trace), "--policy", "fixed-sp8,tetriserve", "--json", str(out))
    document = json.loads(out.read_text())
    assert list(document) == ["runs", "bound_sar", "config"]
    assert [row["policy"] for row in document["runs"]] == ["fixed-sp8", "tetriserve"]
    assert document["config"]["trace"] == str(trace)
    shown = capsys.readouterr().out
    assert "tetriserve" in shown
    assert "1024²" in shown


def test_standard_output_holds_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    call("workload", "--mix", "homogeneous:1024", "--num-requests", "2", "--steps", "5")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["width"], line["height"], line["num_inference_steps"]) for line in lines] == [(1024, 1024, 5)] * 2


def test_a_csv_file_gives_the_arrivals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_text("when,kind\n5,a\n6,b\n9,a\n")
    call("workload", "--csv", str(path), "--arrival-column", "when", "--where", "kind=a")
    arrivals = [json.loads(line)["arrival_s"] for line in capsys.readouterr().out.splitlines()]
    assert arrivals == [0.0, 4.0]


def test_equal_seeds_give_equal_files(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        simulate(tmp_path, "--noise-cv", "0.01", "--failures-per-hour", "60", "--no-timing", "--seed", "3")
        contents.append((tmp_path / "out.json").read_bytes())
    assert contents[0] == contents[1]


def test_all_but_decision_times_is_the_same_with_them(tmp_path: Path) -> None:
    documents = [simulate(tmp_path, "--seed", "3") for _ in range(2)]
    for document in documents:
        assert document["runs"][0].pop("decision_ms")["p99"] > 0
    assert documents[0] == documents[1]


def test_mechanisms_of_the_paper_can_be_switched_off(tmp_path: Path) -> None:
    whole = simulate(tmp_path, "--mix", "skewed", "--policy", "tetriserve")
    less = simulate(
        tmp_path, "--mix", "skewed", "--policy", "tetriserve", "--no-tetriserve-elastic", "--no-tetriserve-backfill"
    )
    assert less["runs"][0]["mean_latency_s"] > whole["runs"][0]["mean_latency_s"]
    assert not less["config"]["simulation"]["scheduler"]["tetriserve"]["elastic"]


def test_the_schedule_can_be_written(tmp_path: Path) -> None:
    simulate(tmp_path, "--schedule", str(tmp_path / "s.json"))
    (schedule,) = json.loads((tmp_path / "s.json").read_text())["schedules"]
    assert len(schedule["requests"]) == 40


def test_bounds_are_above_the_policies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = simulate(tmp_path, "--bound", "--hindsight", "--mix", "skewed")
    assert document["runs"][0]["sar"] <= document["hindsight_sar"] <= document["bound_sar"]
    assert document["hindsight_solved"]
    assert "knowing the future" in capsys.readouterr().out


def test_a_sweep_of_many_policies_keeps_its_headings_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--rate", "60", "--mix", "uniform", "--slo-scale", "1", "--seeds", "1", "--num-requests", "4")
    policies = "default,tetriserve,genserve,edf,srtf,rssp,fixed-sp1,fixed-sp2,fixed-sp8"
    call("sweep", "--json", str(tmp_path / "sweep.json"), "--policy", policies, "--jobs", "1", *options)
    lines = capsys.readouterr().out.splitlines()
    headings = [name for line in lines if "scale" in line for name in line.split()]
    assert [name for name in headings if name not in ("mix", "rate", "scale")] == policies.split(",")
    assert max(map(len, lines)) <= 80


def test_a_sweep_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sweep.json"
    options = ("--jobs", "1", "--num-requests", "20", "--rate", "12,24", "--slo-scale", "1,1.5", "--seeds", "2")
    call("sweep", "--json", str(out), "--policy", "rssp,edf", "--bound", *options)
    assert len(json.loads(out.read_text())["runs"]) == 2 * 2 * 2 * 2 * 2
    assert list(tmp_path.iterdir()) == [out], "the journal is gone"
    assert "of bound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("simulate", "--gpus", "0"), ["0 GPUs"]),
        (("simulate", "--gpus", "3"), ["3 GPUs", "power of two"]),
        (("simulate", "--policy", "best"), ["'best'", "tetriserve"]),
        (("simulate", "--policy", "fixed-sp8", "--gpus", "4"), ["fixed-sp8", "8 devices"]),
        (("simulate", "--profile", "none.json"), ["none.json", "flux1-dev.h100.eager"]),
        (("simulate", "--trace", "none.jsonl"), ["none.jsonl"]),
        (("simulate", "--noise-cv", "-1"), ["noise_cv is -1"]),
        (("simulate", "--tetriserve-round-s", "0"), ["--tetriserve-round-s", "round_s is 0"]),
        (("simulate", "--mix", "homogeneous:4096"), ["4096x4096", "2048x2048"]),
        (("simulate", "--json", "/nowhere/x.json", "--num-requests", "1"), ["/nowhere/x.json"]),
        (("sweep", "--json", "/nowhere/x.json"), ["/nowhere/x.json"]),
        (("sweep", "--json", "x.json", "--seeds", "0"), ["--seeds 0"]),
        (("sweep", "--json", "x.json", "--jobs", "-1"), ["--jobs -1"]),
        (("sweep", "--json", "x.json", "--rate", "12,fast"), ["--rate", "12,fast"]),
        (("sweep", "--json", "x.json", "--rate", "12,0"), ["rate is 0"]),
        (("sweep", "--json", "x.json", "--slo-scale", "0"), ["SLO scale is 0"]),
        (("sweep", "--json", "x.json", "--mix", "uniform/even"), ["even"]),
        (("sweep", "--json", "x.json", "--policy", "best"), ["'best'"]),
        (("sweep", "--json", "x.json", "--default-chunk-s", "-1"), ["chunk_s is -1"]),
        (("simulate", "--extrapolated", "0"), ["extrapolated times is 0"]),
        (("plan", "--target-sar", "0"), ["target SAR is 0", "at most 1"]),
        (("plan", "--target-sar", "1.5"), ["target SAR is 1.5"]),
        (("plan", "--gpus", "3"), ["3 GPUs", "power of two"]),
        (("plan", "--gpus", "0"), ["0 GPUs"]),
        (("plan", "--gpus", "many"), ["--gpus", "'many'"]),
        (("plan", "--policy", "best"), ["'best'", "tetriserve"]),
        (("plan", "--policy", "fixed-sp8"), ["fixed-sp8", "1 devices"]),
        (("plan", "--trace", "none.jsonl"), ["none.jsonl"]),
        (("plan", "--jobs", "-1"), ["--jobs -1"]),
        (("plan", "--json", "/nowhere/p.json"), ["/nowhere/p.json"]),
        (("plan", "--chart", "/nowhere/p.png"), ["/nowhere/p.png"]),
        (("plan", "--chart", "p.pdf", "--gpus", "8", "--num-requests", "1"), ["'pdf'", "png"]),
        (("workload", "--steps", "0"), ["num_inference_steps is 0", "200"]),
        (("workload", "--slo-scale", "0"), ["SLO scale is 0"]),
        (("workload", "--rate", "0"), ["rate is 0"]),
        (("workload", "--num-requests", "0"), ["num_requests is 0"]),
        (("workload", "--csv", "none.csv"), ["none.csv"]),
        (("workload", "--csv", "none.csv", "--where", "x"), ["--where", "NAME=VALUE"]),
        (("workload", "--out", "/nowhere/t.jsonl"), ["/nowhere/t.jsonl"]),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: tuple[str, ...], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    message = refuse(capsys, *arguments)
    assert all(word in message for word in words), message


def test_a_bad_profile_is_named_with_entry_and_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads(load_profile("flux1-dev.h100.eager").to_json())
    raw["entries"][-1]["step_s"] = 0.01
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(raw))
    message = refuse(capsys, "simulate", "--profile", str(path))
    assert all(word in message for word in ("odd.json", str(Size(2048, 2048)), "degree 8", "0.01 s")), message


def test_a_plan_answers_in_words_numbers_and_a_chart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, chart = tmp_path / "plan.json", tmp_path / "plan.svg"
    options = ("--gpus", "2,8", "--policy", "rssp,default", "--jobs", "1", "--target-sar", "0.9")
    workload = ("--num-requests", "100", "--rate", "20", "--slo-scale", "1.5")
    call("plan", *options, *workload, "--json", str(out), "--chart", str(chart))
    document, shown = json.loads(out.read_text()), capsys.readouterr().out
    answer = document["answer"]
    assert (answer["policy"], answer["gpus"]) == ("default", 8)
    assert answer["sar"] >= 0.9
    assert answer["slo_scale"] <= 1.0
    assert answer["slo_s"]["2048x2048"] == pytest.approx(7.5 * answer["slo_scale"])
    assert "8 GPUs with default" in shown
    assert "8 GPUs" in chart.read_text()
    call("plot", str(out), "--out", str(tmp_path), "--format", "png")
    assert (tmp_path / "plan-plan.png").exists()


def test_a_plan_says_what_is_impossible(capsys: pytest.CaptureFixture[str]) -> None:
    call("plan", "--gpus", "1,2", "--policy", "default", "--jobs", "1", "--num-requests", "30", "--rate", "60")
    shown = capsys.readouterr().out
    assert "No policy can do it on 2 GPUs" in shown
    assert "None of these policies keeps 0.99" in shown


def test_extrapolated_times_can_be_moved(tmp_path: Path) -> None:
    options = ("--profile", "flux1-dev.h100.eager", "--no-timing", "--policy")  # a profile of steps alone
    plain, slower = (simulate(tmp_path, *options, "fixed-sp8", "--extrapolated", x) for x in ("1", "1.2"))
    assert slower["runs"][0]["gpu_seconds_per_image"] == pytest.approx(1.2 * plain["runs"][0]["gpu_seconds_per_image"])
    measured = [simulate(tmp_path, *options, "fixed-sp2", "--extrapolated", x) for x in ("1", "1.2")]
    assert measured[0]["runs"] == measured[1]["runs"]


@pytest.mark.parametrize("command", ["workload", "simulate", "sweep", "plan", "plot", "serve", "config", "bench"])
def test_help_comes_at_once_and_without_torch(command: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = f"import sys, tetriserve.cli as c\ntry: c.main(['{command}', '--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'numpy', 'scipy', 'matplotlib', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 0.5, "of processor time, which others at work don't lengthen"
