"""The memory plan: weights are counted, estimates are near what is measured, refusals say what would fit."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.peak_bytes import PeakBytes
from models.test_flux import load, request
from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.models.card import read_card
from tetriserve.models.config import AS_IT_IS, LoadingConfig
from tetriserve.models.denoise import Denoiser
from tetriserve.models.memory import GIB, STEP_WIDTHS, Choice, MemoryPlan
from tetriserve.models.model_size import ModelSize, model_size
from tetriserve.models.source import find_model
from tetriserve.models.ulysses import ALONE
from tetriserve.models.weight_files import WEIGHTS_FILE, stored_shapes

SIZES = tuple((Size(side, side), batch) for side, batch in ((256, 4), (512, 4), (1024, 1), (2048, 1)))
FLUX = ModelSize(11_901_408_320, 8_500_000_000, 342 * 3072, 4_885_371_136, 83_819_683, 3072, 256)


def flux_plan(num_devices: int = 1, *, has_8_bits: bool = True) -> MemoryPlan:
    card = replace(read_card(find_model("random:flux1-dev")), weights="files", name="flux")
    return MemoryPlan(FLUX, card, is_gpu=True, has_8_bits=has_8_bits, num_devices=num_devices)


def choice(encoders: str = "resident", *, eight_bits: bool = False) -> Choice:
    return Choice(SIZES, encoders, eight_bits, 2)  # type: ignore[arg-type]


def test_weights_are_counted_from_headers(checkpoint: GetCheckpoint) -> None:
    directory = checkpoint("none")
    weights = load_file(directory / "transformer" / WEIGHTS_FILE)
    assert stored_shapes(directory / "transformer" / WEIGHTS_FILE) == {k: tuple(x.shape) for k, x in weights.items()}
    found = model_size(directory, read_card(directory), AS_IT_IS)
    assert found.network == sum(x.numel() for x in weights.values())
    pipeline = load(checkpoint, "none")._pipe
    assert found.vae == sum(x.numel() for x in pipeline.vae.parameters())
    encoders = (pipeline.text_encoder, pipeline.text_encoder_2)
    assert found.encoders == sum(x.numel() for encoder in encoders for x in encoder.parameters())
    file = LoadingConfig(str(directory / "vae" / WEIGHTS_FILE))
    assert model_size(directory, read_card(directory), file).network == found.vae


def test_a_missing_configuration_is_refused(checkpoint: GetCheckpoint, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(checkpoint("none"), tmp_path / "model"))
    (directory / "vae" / "config.json").unlink()
    with pytest.raises(ConfigurationError, match=r"vae/config\.json does not exist"):
        model_size(directory, read_card(directory), AS_IT_IS)


def test_an_architecture_without_files_is_counted_too() -> None:
    directory = find_model("random:flux1-dev")
    found = model_size(directory, read_card(directory), AS_IT_IS)
    assert found == replace(FLUX, eight_bit=found.eight_bit)
    assert found.eight_bit + found.modulation * 3072 == pytest.approx(found.network, rel=0.01)


def test_a_file_without_a_header_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 100, b"\x02" + bytes(7) + b"[]"):
        (tmp_path / "x.safetensors").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"x\.safetensors is no safetensors file"):
            stored_shapes(tmp_path / "x.safetensors")


@pytest.mark.parametrize("kind", ["embedded-model", "sd3.5-medium"])
def test_estimates_are_above_what_is_measured_and_not_far(kind: str, checkpoint: GetCheckpoint) -> None:
    model, asked = load(checkpoint, kind), request("112x112")
    plan = MemoryPlan(model_size(checkpoint(kind), model.card, AS_IT_IS), model.card, False, False, 1)
    chosen = Choice(((asked.size, 1),), "resident", False, 4)
    with torch.inference_mode():
        state, denoiser = model.encode(asked), Denoiser(model)
        denoiser.run([state], [0], 1, ALONE)
        with PeakBytes() as step:
            denoiser.run([state], [1], 1, ALONE)
        with PeakBytes() as decode:
            model.decode(state)
    assert 0.3 * plan._alive(chosen, STEP_WIDTHS) < step.peak < plan._alive(chosen, STEP_WIDTHS)
    if kind == "embedded-model":  # the others' VAEs have as few channels inside as outside
        assert 0.3 * plan._decode(chosen) < decode.peak < plan._decode(chosen)


def test_room_for_interrupted_steps_is_kept_where_there_can_be_some() -> None:
    with_room, without = flux_plan(), replace(flux_plan(), may_interrupt=False)
    hidden = 2 * (2048 // 16) ** 2 * 3072 * 2
    assert 3 * hidden < with_room.total(choice()) - without.total(choice()) < 3.2 * hidden


def test_a_large_gpu_needs_no_tiles_and_a_smaller_one_does() -> None:
    plan = flux_plan()
    assert plan.fitted(choice(), 79 * GIB) == choice()
    needed = plan.total(replace(choice(), tiled=True))
    assert plan.fitted(choice(), needed) == replace(choice(), tiled=True)
    assert "in tiles" in plan.describe(plan.fitted(choice(), needed), needed)


@pytest.mark.parametrize(
    ("available_gib", "has_8_bits", "advice"),
    [
        (36, True, "with --encoders offload"),
        (32, True, "with --encoders cpu"),
        (24, True, "with --encoders cpu --dtype fp8"),
        (24, False, "no less than"),
        (4, True, "no less than"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(available_gib: int, has_8_bits: bool, advice: str) -> None:
    plan = flux_plan(has_8_bits=has_8_bits)
    says = rf"flux needs 3\d\.\d of {available_gib}\.0 GiB here \(network 22\.2, text encoders 9\.1, .*{advice}"
    with pytest.raises(ConfigurationError, match=says):
        plan.fitted(choice(), available_gib * GIB)
