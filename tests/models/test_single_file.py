"""The network's weights from one file, in the layouts that such files have."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from safetensors.torch import load_file, save_file

from models.original_layout import FLUX_NAMES, SD3_NAMES, original_layout
from models.test_flux import latents
from parity.fixtures import GetCheckpoint
from parity.reference import Reference
from parity.sd3_checkpoint import KINDS
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.config import LoadingConfig
from tetriserve.models.loading import load_model
from tetriserve.models.single_file import in_diffusers_layout, load_single_file
from tetriserve.models.weight_files import NETWORK_PREFIX, WEIGHTS_FILE

CPU = torch.device("cpu")


def load_sd3(directory: Path, file: Path) -> Any:
    return load_single_file(SD3Transformer2DModel, directory / "transformer", file, CPU, torch.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_stable_diffusion_3_as_it_was_published(kind: str, checkpoint: GetCheckpoint, tmp_path: Path) -> None:
    """Beside the network the file holds a VAE, as ComfyUI's do."""
    expected = load_file(checkpoint(kind) / "transformer" / WEIGHTS_FILE)
    original = original_layout(expected, SD3_NAMES, last_block=2)
    assert any("qkv" in name for name in original)
    file = tmp_path / "sd3.safetensors"
    network = {f"{NETWORK_PREFIX}{name}": x for name, x in original.items()}
    save_file(network | {"first_stage_model.conv.weight": torch.zeros(1)}, file)
    loaded = load_sd3(checkpoint(kind), file).state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], x) for name, x in expected.items())


@pytest.mark.parametrize("guidance", [True, False], ids=["dev", "schnell"])
def test_flux_as_it_was_published(guidance: bool) -> None:
    """One block of each kind at full width, which diffusers' translation takes for granted; matrices of one column."""
    config = {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": guidance}
    with torch.device("meta"):
        shapes = {name: x.shape for name, x in FluxTransformer2DModel(**config).state_dict().items()}
    expected = {name: torch.rand(shape[0], *[1] * (len(shape) - 1)) for name, shape in shapes.items()}
    original = original_layout(expected, FLUX_NAMES)
    assert "double_blocks.0.img_attn.qkv.weight" in original
    translated = in_diffusers_layout({f"{NETWORK_PREFIX}{k}": x for k, x in original.items()}, "FluxTransformer2DModel")
    assert translated.keys() == expected.keys()
    assert all(torch.equal(translated[name], x) for name, x in expected.items())


def test_a_file_takes_the_place_of_the_directory_s_weights(
    checkpoint: GetCheckpoint, reference: Reference, tmp_path: Path
) -> None:
    whole = checkpoint("none")
    directory = Path(shutil.copytree(whole, tmp_path / "model"))
    file = Path(shutil.move(directory / "transformer" / WEIGHTS_FILE, tmp_path / "network.safetensors"))
    model = load_model(directory, CPU, torch.float32, lambda text: None, LoadingConfig(str(file)))
    asked = Request("r", "a blue house", Size(80, 48), 4, 3.5, 3, 0.0, 0.0)
    expected = reference.call(whole, asked, "latent")
    assert (latents(model, asked) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"joint_blocks.0.x_block.mlp.fc1.weight": None}, "joint_blocks.0.x_block.mlp.fc1.weight"),
        ({"scale_weight": torch.zeros(1)}, "1 weights that are not the network's, like scale_weight"),
        ({"final_layer.linear.bias": torch.zeros(3)}, "proj_out.bias"),
    ],
    ids=["missing", "unknown", "of another shape"],
)
def test_a_file_that_does_not_fit_is_refused(
    change: dict[str, Any], complaint: str, checkpoint: GetCheckpoint, tmp_path: Path
) -> None:
    directory, file = checkpoint("sd3"), tmp_path / "sd3.safetensors"
    weights = original_layout(load_file(directory / "transformer" / WEIGHTS_FILE), SD3_NAMES, last_block=2) | change
    save_file({name: x for name, x in weights.items() if x is not None}, file)
    with pytest.raises(ConfigurationError, match=complaint):
        load_sd3(directory, file)


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.safetensors': there is no such file"):
        LoadingConfig(str(tmp_path / "x.safetensors")).resolved()
