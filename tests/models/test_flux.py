"""The adapter on one device, in this process, against diffusers."""

import pytest
import torch

from parity.fixtures import GetCheckpoint
from parity.reference import Reference
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.denoise import Denoiser
from tetriserve.models.loading import load_model
from tetriserve.models.packed_transformer import Packing
from tetriserve.models.ulysses import ALONE

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def load(
    checkpoint: GetCheckpoint, kind: str, dtype: torch.dtype = torch.float32, device: torch.device = CPU
) -> ModelAdapter:
    return load_model(checkpoint(kind), device, dtype, report=lambda text: None)


def request(size: str = "80x48", guidance: float = 3.5) -> Request:
    return Request("r", "a blue house", Size.parse(size), 4, guidance, 3, 0.0, 0.0)


@torch.inference_mode()
def latents(model: ModelAdapter, asked: Request) -> torch.Tensor:
    state = model.encode(asked)
    denoiser = Denoiser(model)
    denoiser.run([state], [0], 1, ALONE)
    denoiser.run([state], [1], 3, ALONE)
    return state.latents[0]


@pytest.mark.parametrize(("kind", "guidance"), [("embedded", 3.5), ("none", 3.5), ("true_cfg", 1.0), ("true_cfg", 3.5)])
def test_latents_are_those_of_diffusers(
    kind: str, guidance: float, checkpoint: GetCheckpoint, reference: Reference
) -> None:
    asked = request(guidance=guidance)
    expected = reference.call(checkpoint(kind), asked, "latent")
    assert (latents(load(checkpoint, kind), asked) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["embedded", "true_cfg"])
def test_float16_on_a_gpu_rounds_more_finely_than_bfloat16(kind: str, checkpoint: GetCheckpoint) -> None:
    """Both begin with the noise of 32 bits, so that rounding is all that differs."""
    asked, noise = request("96x80"), None
    made: list[torch.Tensor] = []
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = load(checkpoint, kind, dtype, CUDA)
        with torch.inference_mode():
            state = model.encode(asked)
            noise = state.latents.clone() if noise is None else noise
            state.latents = noise.to(dtype)
            Denoiser(model).run([state], [0], asked.num_inference_steps, ALONE)
        made.append(state.latents[0].float())
    exact, half, brain = made
    assert (half - exact).abs().mean() < 0.5 * (brain - exact).abs().mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["embedded", "true_cfg"])
def test_a_chunk_is_launched_while_the_one_before_runs(kind: str, checkpoint: GetCheckpoint) -> None:
    """Nothing is copied from the host: such a copy waits for all that the device has been given."""
    model = load(checkpoint, kind, torch.bfloat16, CUDA)
    with torch.inference_mode():
        state, denoiser = model.encode(request()), Denoiser(model)
        denoiser.run([state], [0], 1, ALONE)
        try:
            with pytest.warns(UserWarning, match="prototype"):
                torch.cuda.set_sync_debug_mode("error")
            denoiser.run([state], [1], 2.5, ALONE)
            denoiser.run([state], [3.5], 0.5, ALONE)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kind", ["embedded", "true_cfg"])
def test_a_blank_state_has_the_shapes_of_an_encoded_one(kind: str, checkpoint: GetCheckpoint) -> None:
    model = load(checkpoint, kind, torch.bfloat16)
    with torch.inference_mode():
        encoded, blank = model.encode(request()), model.blank(request())
    for ours, theirs in zip(
        (blank.latents, *blank.conditioning), (encoded.latents, *encoded.conditioning), strict=True
    ):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype == torch.bfloat16
        assert not ours.any()
    assert torch.equal(blank.sigmas, encoded.sigmas)


def test_a_solver_with_noise_of_its_own_is_refused(checkpoint: GetCheckpoint) -> None:
    adapter = load(checkpoint, "none")
    pipeline = adapter._pipe
    pipeline.scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config, stochastic_sampling=True)
    with pytest.raises(ConfigurationError, match="stochastic_sampling"):
        type(adapter)(pipeline, adapter.card, Packing(CPU), adapter._encoders)
