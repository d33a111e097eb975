"""`tetriserve bench serve` against our own server."""

import json
from pathlib import Path

import pytest

from server.conftest import RunningServer
from tetriserve.cli import main


def test_our_server_tells_more(server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    load = ("--mix", "homogeneous:64", "--rate", "120", "--num-requests", "5", "--steps", "2", "--slo-scale", "20")
    main(["bench", "serve", "--url", server.url, *load, "--json", str(out)])
    document = json.loads(out.read_text())
    (row,) = document["runs"]
    assert (row["policy"], row["sar"], row["errors"]) == ("default", 1.0, [])
    assert row["gpu_seconds_per_image"] > 0
    assert 0 < row["gpu_utilization"] <= 1
    assert row["mean_queue_s"] >= 0
    for request in document["schedules"][0]["requests"]:
        assert len(request["degrees"]) == 2
        assert set(request["degrees"]) <= {1, 2}
        assert request["server"]["met_deadline"]
        assert request["server"]["latency_s"] <= request["finished_s"] - request["arrival_s"]
        assert request["server"]["slo_s"] == pytest.approx(request["deadline_s"] - request["arrival_s"])
    assert document["config"] | {"gpus": 2, "policy": "default", "model": "tiny-true_cfg"} == document["config"]
