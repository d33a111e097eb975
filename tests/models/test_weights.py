import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file

from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import ConfigurationError
from tetriserve.models.weights import WEIGHTS_FILE, load_module

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
