"""`tetriserve bench serve` against our own server, with the model we ship."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.conftest import RunningServer, run_server
from tetriserve.cli import main
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR


@pytest.fixture
def embedded_server(tmp_path: Path) -> Iterator[RunningServer]:
    with run_server(EMBEDDED_MODEL_DIR, tmp_path, "--sizes", "64x64", "--devices", "cpu:1") as running:
        yield running


def test_our_server_tells_more(embedded_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    load = ("--mix", "homogeneous:64", "--rate", "120", "--num-requests", "5", "--steps", "2", "--slo-scale", "20")
    main(["bench", "serve", "--url", embedded_server.url, *load, "--json", str(out)])
    document = json.loads(out.read_text())
    (row,) = document["runs"]
    assert (row["policy"], row["sar"], row["errors"]) == ("default", 1.0, [])
    assert row["gpu_seconds_per_image"] > 0
    assert 0 < row["gpu_utilization"] <= 1
    assert row["mean_queue_s"] >= 0
    for request in document["schedules"][0]["requests"]:
        assert request["degrees"] == [1, 1]
        assert request["server"]["met_deadline"]
        assert request["server"]["latency_s"] <= request["finished_s"] - request["arrival_s"]
        assert request["server"]["slo_s"] == pytest.approx(request["deadline_s"] - request["arrival_s"])
    assert document["config"] | {"gpus": 1, "policy": "default", "model": "tetriserve-emoji"} == document["config"]
