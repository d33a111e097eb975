"""Full-size architectures with random weights: their sizes, and that a shrunken one makes images."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from parity.harness import Engine
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models import preview
from tetriserve.models.architectures import architectures
from tetriserve.models.card import read_card
from tetriserve.models.components import Component, read_components
from tetriserve.models.denoise import Denoiser
from tetriserve.models.loading import load_model
from tetriserve.models.source import find_model, model_name
from tetriserve.models.ulysses import ALONE
from tetriserve.models.weights import empty_encoder, empty_module

CPU = torch.device("cpu")

NUM_WEIGHTS = {
    ("flux1-dev", "transformer"): 11_901_408_320,
    ("flux1-dev", "text_encoder"): 123_060_480,
    ("flux1-dev", "text_encoder_2"): 4_762_310_656,
    ("flux1-dev", "vae"): 83_819_683,
    ("flux1-schnell", "transformer"): 11_891_178_560,
    ("sd3-medium", "transformer"): 2_028_328_000,
    ("sd3-medium", "text_encoder_2"): 694_659_840,
    ("sd3.5-medium", "transformer"): 2_243_171_520,
    ("sd3.5-large", "transformer"): 8_056_627_520,
    ("qwen-image", "transformer"): 20_430_401_088,
    ("qwen-image", "text_encoder"): 8_292_166_656,
    ("qwen-image", "vae"): 126_892_531,
}
"""Parameters of the published weights."""

SHRUNKEN: dict[str, dict[str, Any]] = {
    "transformer": {
        "num_layers": 2,
        "num_single_layers": 2,
        "num_attention_heads": 2,
        "caption_projection_dim": 128,
        "joint_attention_dim": 2048,
        "dual_attention_layers": [0],
        "pos_embed_max_size": 16,
    },
    "text_encoder": {"num_hidden_layers": 2, "vocab_size": 3072},
    "text_encoder_2": {
        "num_layers": 2,
        "d_model": 2048,
        "d_ff": 256,
        "num_heads": 4,
        "num_hidden_layers": 2,
        "vocab_size": 3072,
    },
    "text_encoder_3": {"num_layers": 2, "d_model": 2048, "d_ff": 256, "num_heads": 4, "vocab_size": 3072},
    "vae": {"block_out_channels": [32, 32, 64, 64], "layers_per_block": 1, "base_dim": 8, "num_res_blocks": 1},
}
"""What a copy that a CPU can run differs in."""


def shrunken(name: str, target: Path) -> Path:
    """A copy of an architecture that a CPU can run."""
    shutil.copytree(find_model(f"random:{name}"), target)
    for folder, smaller in SHRUNKEN.items():
        path = target / folder / "config.json"
        if path.is_file():
            config = json.loads(path.read_text())
            path.write_text(json.dumps(config | {key: value for key, value in smaller.items() if key in config}))
    return target


@pytest.mark.parametrize(("name", "part"), NUM_WEIGHTS, ids=str)
def test_an_architecture_has_the_size_of_the_published_model(name: str, part: str) -> None:
    directory = find_model(f"random:{name}")
    component = {component.name: component for component in read_components(directory)}[part]
    make = empty_encoder if component.is_encoder else empty_module
    module = make(component.model_class(), directory / part)
    assert sum(parameter.numel() for parameter in module.parameters()) == NUM_WEIGHTS[name, part]


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_is_read_without_weights(name: str) -> None:
    card = read_card(find_model(f"random:{name}"))
    assert (card.name, card.weights) == (f"{name}-random", "random")
    assert model_name(find_model(f"random:{name}")) == f"random:{name}"


def test_an_unknown_architecture_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match="random:flux9: there are flux1-dev, "):
        find_model("random:flux9")


@pytest.mark.parametrize("name", ["flux1-dev", "sd3.5-medium"])
def test_a_shrunken_one_makes_the_same_noise_at_every_degree(name: str, tmp_path: Path) -> None:
    engine = Engine(shrunken(name, tmp_path / name), "cpu:2")
    with engine.executor:
        one, two = (engine.image(engine.request("64x64", steps=2), [block]) for block in ((0,), (0, 1)))
    assert max(abs(a - b) for a, b in zip(one.rgb, two.rgb, strict=True)) <= 1
    assert len(set(one.rgb)) > 10


@torch.inference_mode()
def test_pixels_are_finite_at_full_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of the network and layers of the VAE are as many as they are; in bfloat16."""
    monkeypatch.setattr(preview, "NUM_FIELDS", 1)  # CPUs encode in bfloat16 ten times slower
    directory = shrunken("sd3-medium", tmp_path / "model")
    full = {"transformer": {"num_layers": 24}, "vae": {"layers_per_block": 2}}
    for folder, deeper in full.items():
        path = directory / folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | deeper))
    model = load_model(directory, CPU, torch.bfloat16, lambda text: None)
    state = model.encode(Request("r", "a red apple", Size(32, 32), 2, 1.0, 0, 0.0, 0.0))
    Denoiser(model).run([state], [0], 2, ALONE)
    assert state.latents.isfinite().all()
    assert model.decode(state).float().std() > 1


def test_components_of_an_unknown_class_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="vae: diffusers has no class 'AutoencoderXYZ'"):
        Component("vae", "diffusers", "AutoencoderXYZ").model_class()


@torch.inference_mode()
def test_a_shrunken_qwen_image_draws_noise(tmp_path: Path) -> None:
    directory = shrunken("qwen-image", tmp_path / "model")
    _change(directory / "transformer", {"joint_attention_dim": 256})
    text = {"num_hidden_layers": 1, "hidden_size": 256, "num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {"depth": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 256}
    few_words = {"intermediate_size": 64, "vocab_size": 3072, "bos_token_id": 1, "eos_token_id": 1}
    _change(directory / "text_encoder", {"text_config": text | few_words, "vision_config": vision})
    model = load_model(directory, CPU, torch.bfloat16, lambda text: None)
    state = model.encode(Request("r", "a red apple", Size(32, 32), 1, 4.0, 0, 0.0, 0.0))
    Denoiser(model).run([state], [0], 1, ALONE)
    assert model.decode(state).float().std() > 1


def _change(folder: Path, changes: dict[str, Any]) -> None:
    """Change a configuration; what is a dictionary, in part."""
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(config))
