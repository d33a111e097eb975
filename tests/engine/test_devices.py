import os
from pathlib import Path

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.engine import devices
from tetriserve.engine.config import EngineConfig, resolve


def test_cpu_workers_are_counted() -> None:
    assert devices.resolve_devices("cpu:3") == ("cpu", "cpu", "cpu")


def test_gpus_are_all_or_the_first_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 4)
    assert devices.resolve_devices("cuda") == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert devices.resolve_devices("cuda:2") == ("cuda:0", "cuda:1")
    assert devices.resolve_devices("auto") == devices.resolve_devices("cuda")
    with pytest.raises(ConfigurationError, match="4 GPUs are visible"):
        devices.resolve_devices("cuda:5")


def test_auto_without_gpus_is_two_cpu_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: 0)
    assert devices.resolve_devices("auto") == ("cpu", "cpu")
    with pytest.raises(ConfigurationError, match="0 GPUs are visible"):
        devices.resolve_devices("cuda")


@pytest.mark.parametrize("spec", ["", "cpu", "cpu:0", "cpu:65", "gpu:1", "cuda:x", "cuda:0", "cpu:2,cuda", "auto:2"])
def test_other_specifications_are_refused(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="devices"):
        devices.resolve_devices(spec)


@pytest.mark.parametrize(("visible", "count"), [("0,2", 2), ("", 0), ("-1", 0), ("1,-1,0", 1)])
def test_cuda_visible_devices_is_heeded(visible: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: [Path(f"/dev/nvidia{name}") for name in ("0", "1", "2", "ctl")])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.count_gpus() == count


def test_dtype_follows_the_devices() -> None:
    assert devices.resolve_dtype("auto", ("cpu",)) == "float32"
    assert devices.resolve_dtype("auto", ("cuda:0",)) == "bfloat16"
    with pytest.raises(ConfigurationError, match="int8"):
        devices.resolve_dtype("int8", ("cpu",))


def test_threads_share_the_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    assert devices.threads_per_worker(("cpu",)) == cores
    assert devices.threads_per_worker(("cpu",) * 2 * cores) == 1


def test_a_missing_model_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        resolve(EngineConfig(tmp_path / "nothing"))
