import json
from pathlib import Path
from typing import Any

import pytest

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.size import Size
from tetriserve.models.card import read_card


def write(directory: Path, *, pipeline: str = "FluxPipeline", guidance_embeds: bool = True, card: Any = None) -> Path:
    (directory / "transformer").mkdir()
    (directory / "transformer" / "config.json").write_text(json.dumps({"guidance_embeds": guidance_embeds}))
    (directory / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    if card is not None:
        (directory / "tetriserve.json").write_text(json.dumps(card))
    return directory


def test_a_plain_flux_directory_has_the_defaults_of_dev(tmp_path: Path) -> None:
    card = read_card(write(tmp_path))
    assert (card.name, card.max_sequence_length, card.guidance) == (tmp_path.name, 512, "embedded")
    assert (card.default_guidance_scale, card.default_num_inference_steps) == (3.5, 28)


def test_without_guidance_embeddings_it_is_schnell(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, guidance_embeds=False))
    assert (card.guidance, card.default_num_inference_steps) == ("none", 4)


def test_the_card_overrides_defaults(tmp_path: Path) -> None:
    given = {"name": "emoji", "guidance": "true_cfg", "default_guidance_scale": 2, "sizes": ["256x256", "128x64"]}
    card = read_card(write(tmp_path, card=given))
    assert (card.name, card.guidance, card.default_guidance_scale) == ("emoji", "true_cfg", 2.0)
    assert card.max_sequence_length == 512
    assert card.sizes == (Size(128, 64), Size(256, 256))


@pytest.mark.parametrize(
    "given",
    [
        ["name"],
        {"name": ""},
        {"sizes": []},
        {"sizes": 3},
        {"sizes": ["17x17"]},
        {"colour": "red"},
        {"guidance": "cfg"},
        {"max_sequence_length": 0},
        {"max_sequence_length": 7.5},
        {"default_guidance_scale": -1},
        {"default_guidance_scale": "3"},
        {"default_num_inference_steps": True},
    ],
    ids=str,
)
def test_impossible_values_are_refused_with_their_name(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tetriserve\.json"):
        read_card(write(tmp_path, card=given))


def test_other_pipelines_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="'WanPipeline'; supported are FluxPipeline, QwenImagePipeline, Stable"
    ):
        read_card(write(tmp_path, pipeline="WanPipeline"))


def test_what_is_no_model_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_card(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match=r"no model_index\.json"):
        read_card(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ConfigurationError, match="can't be read"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("network", "steps", "scale"),
    [
        ({}, 28, 7.0),
        ({"qk_norm": "rms_norm", "dual_attention_layers": []}, 28, 3.5),
        ({"qk_norm": "rms_norm", "dual_attention_layers": [0, 1]}, 40, 4.5),
    ],
    ids=["3 medium", "3.5 large", "3.5 medium"],
)
def test_defaults_of_stable_diffusion_3(network: dict[str, Any], steps: int, scale: float, tmp_path: Path) -> None:
    directory = write(tmp_path, pipeline="StableDiffusion3Pipeline")
    (directory / "transformer" / "config.json").write_text(json.dumps({"pos_embed_max_size": 192, **network}))
    card = read_card(directory)
    assert (card.guidance, card.max_sequence_length) == ("true_cfg", 256)
    assert (card.default_num_inference_steps, card.default_guidance_scale) == (steps, scale)
    assert card.check_side(Size(3072, 64)) == (3072, 64)
    with pytest.raises(InvalidRequestError, match=r"3088x64.* up to 3072 pixels a side"):
        card.check_side(Size(3088, 64))


def test_defaults_of_qwen_image(tmp_path: Path) -> None:
    card = read_card(write(tmp_path, pipeline="QwenImagePipeline"))
    assert (card.guidance, card.max_sequence_length, card.max_side_px) == ("true_cfg", 512, None)
    assert (card.default_num_inference_steps, card.default_guidance_scale) == (50, 4.0)
