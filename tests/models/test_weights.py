import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file

from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import ConfigurationError
from tetriserve.models.weight_files import WEIGHTS_FILE
from tetriserve.models.weights import load_module

CPU = torch.device("cpu")


@pytest.fixture
def directory(checkpoint: GetCheckpoint, tmp_path: Path) -> Path:
    """A transformer that a test may change."""
    return Path(shutil.copytree(checkpoint("none") / "transformer", tmp_path / "transformer"))


def test_a_module_in_shards_is_whole(directory: Path) -> None:
    expected = load_file(directory / WEIGHTS_FILE)
    (directory / WEIGHTS_FILE).unlink()
    names = sorted(expected)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in shards.items():
        save_file({name: expected[name] for name in held}, directory / file)
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    (directory / f"{WEIGHTS_FILE}.index.json").write_text(json.dumps(index))
    module = load_module(FluxTransformer2DModel, directory, CPU, torch.bfloat16)
    assert {name: x.dtype for name, x in module.state_dict().items()} == dict.fromkeys(expected, torch.bfloat16)
    assert all(torch.equal(x, expected[name].bfloat16()) for name, x in module.state_dict().items())
    assert not module.training


def test_a_missing_weight_is_named(directory: Path) -> None:
    weights = load_file(directory / WEIGHTS_FILE)
    del weights["proj_out.bias"]
    save_file(weights, directory / WEIGHTS_FILE)
    with pytest.raises(ConfigurationError, match=r"lacks 1 weights, the first is proj_out\.bias"):
        load_module(FluxTransformer2DModel, directory, CPU, torch.float32)


def test_a_weight_of_another_shape_is_refused(directory: Path) -> None:
    weights = load_file(directory / WEIGHTS_FILE)
    weights["proj_out.bias"] = torch.zeros(3)
    save_file(weights, directory / WEIGHTS_FILE)
    with pytest.raises(ConfigurationError, match=r"proj_out\.bias"):
        load_module(FluxTransformer2DModel, directory, CPU, torch.float32)


NUM_SHARDS, SHARD_BYTES = 16, 8 * 2**20

MEASURE = """
import sys
from pathlib import Path
import torch
from tetriserve.models.weights import load_module

class Wide(torch.nn.Module):
    load_config = staticmethod(lambda directory: None)

    @classmethod
    def from_config(cls, config):
        module = cls()
        module.layers = torch.nn.ParameterList(torch.empty(int(sys.argv[3])) for _ in range(int(sys.argv[2])))
        return module

def in_memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

torch.zeros(64).to(torch.bfloat16)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before = in_memory("VmRSS")
module = load_module(Wide, Path(sys.argv[1]), torch.device("cpu"), torch.bfloat16)
print(in_memory("VmHWM") - before)
"""


def test_the_host_holds_one_shard_beside_what_is_loaded(tmp_path: Path) -> None:
    """fp32 files to bf16 weights: half their size, and one file more at the peak. All files at once would be twice."""
    torch.manual_seed(0)
    names = [f"layers.{index}" for index in range(NUM_SHARDS)]
    for name in names:
        save_file({name: torch.randn(SHARD_BYTES // 4)}, tmp_path / f"{name}.safetensors")
    index = {"weight_map": {name: f"{name}.safetensors" for name in names}}
    (tmp_path / f"{WEIGHTS_FILE}.index.json").write_text(json.dumps(index))
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), str(NUM_SHARDS), str(SHARD_BYTES // 4)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = NUM_SHARDS * SHARD_BYTES // 2
    assert loaded < int(run.stdout) < loaded + 2 * SHARD_BYTES
