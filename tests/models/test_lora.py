"""LoRAs that are merged at start, against diffusers, which applies them beside the weights."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file

from models.test_flux import CPU, latents, request
from parity.fixtures import GetCheckpoint
from parity.reference import Reference
from tetriserve.core.errors import ConfigurationError
from tetriserve.models import lora
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.config import LoadingConfig, Lora
from tetriserve.models.loading import load_model
from tetriserve.models.patches import from_patches

LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "proj_mlp", "norm1.linear"]


def write_lora(directory: Path, pipeline: Any) -> Path:
    """As a trainer saves it, with changes of some size."""
    torch.manual_seed(5)
    pipeline.transformer.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=LAYERS))
    made = get_peft_model_state_dict(pipeline.transformer)
    changes = {name: torch.randn_like(tensor) * 0.3 for name, tensor in made.items()}
    type(pipeline).save_lora_weights(directory, transformer_lora_layers=changes)
    return directory / "pytorch_lora_weights.safetensors"


def load(directory: Path, *loras: str) -> ModelAdapter:
    return load_model(directory, CPU, torch.float32, lambda text: None, LoadingConfig(loras=loras))


@pytest.mark.parametrize("kind", ["true_cfg", "sd3.5-large", "qwen-image"])
def test_latents_are_those_of_diffusers(kind: str, checkpoint: GetCheckpoint, tmp_path: Path) -> None:
    directory, asked = checkpoint(kind), request()
    file = write_lora(tmp_path, Reference().pipeline(directory))
    reference = Reference()
    plain = reference.call(directory, asked, "latent")
    pipeline: DiffusionPipeline = reference.pipeline(directory)
    pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name="one")
    pipeline.set_adapters("one", 0.6)
    expected = reference.call(directory, asked, "latent")
    assert isinstance(plain, torch.Tensor) and isinstance(expected, torch.Tensor)
    assert (expected - plain).abs().max() > 0.01 * plain.abs().max()
    before = [hashlib.sha256(one.read_bytes()).digest() for one in sorted(directory.rglob("*.safetensors"))]
    with torch.inference_mode():  # as workers load
        model = load(directory, f"{file}=0.6")
    found = latents(model, asked)
    if kind == "sd3.5-large":  # whose pipeline tells latents as an image
        found = from_patches(found[None], 2, asked.size.height // 8, asked.size.width // 8)[0]
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    assert before == [hashlib.sha256(one.read_bytes()).digest() for one in sorted(directory.rglob("*.safetensors"))]


def test_two_are_merged_one_after_the_other(checkpoint: GetCheckpoint, tmp_path: Path) -> None:
    directory = checkpoint("none")
    file = write_lora(tmp_path, Reference().pipeline(directory))
    twice, once = load(directory, f"{file}=0.25", f"{file}=0.5"), load(directory, f"{file}=0.75")
    expected = latents(once, request())
    assert (latents(twice, request()) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_a_file_for_another_model_is_refused(checkpoint: GetCheckpoint, tmp_path: Path) -> None:
    """Of another pipeline; of another network of the same kind; one that holds no LoRA."""
    shape = (4, 64)
    foreign, wide, none, text = (tmp_path / f"{name}.safetensors" for name in ("foreign", "wide", "none", "text"))
    save_file({f"unet.a.to_q.lora_{x}.weight": torch.zeros(shape) for x in "AB"}, foreign)
    block = "transformer.transformer_blocks.0.attn.to_q"
    save_file({f"{block}.lora_A.weight": torch.zeros(4, 999), f"{block}.lora_B.weight": torch.zeros(999, 4)}, wide)
    save_file({"weight": torch.zeros(shape)}, none)
    text.write_text("not tensors")
    for file in (foreign, wide, none, text):
        with pytest.raises(ConfigurationError, match=rf"lora '.*{file.name}' can't be merged: "):
            load(checkpoint("true_cfg"), str(file))


@pytest.mark.parametrize("text", ["missing.safetensors", "missing.safetensors=0.5", "x.safetensors=nan", "x.bin", ""])
def test_what_is_no_file_and_scale_is_refused_before_anything_is_loaded(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.safetensors", "x.bin"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=rf"^lora '{text}': "):
        LoadingConfig(loras=(text,)).resolved()


def test_file_and_scale_survive_the_way_to_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.safetensors").touch()
    for text, scale in (("a=b.safetensors", 1.0), ("a=b.safetensors=-0.123456789", -0.123456789)):
        assert [Lora.parse(one) for one in LoadingConfig(loras=(text,)).resolved().loras] == [
            Lora(tmp_path / "a=b.safetensors", scale)
        ]


def test_without_peft_it_is_said_how_to_get_it(checkpoint: GetCheckpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "is_peft_available", lambda: False)
    with pytest.raises(ConfigurationError, match=r"pip install 'tetriserve\[lora\]'"):
        lora.merge_lora(None, Lora(Path("x.safetensors"), 1.0))
