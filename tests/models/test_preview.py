"""Rough pictures of latents: near to what the VAE would make of them."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tetriserve.core.partial import is_partial_due
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.flow_match import final_estimate
from tetriserve.models.loading import load_model

EMBEDDED = Path(__file__).parents[2] / "src" / "tetriserve" / "embedded"


def request(num_steps: int, num_partial_images: int) -> Request:
    return Request("a", "x", Size(64, 64), num_steps, 1.0, 0, 0.0, 1.0, "", 1.0, num_partial_images)


def test_the_preview_of_an_encoded_picture_has_its_colours() -> None:
    model = load_model(EMBEDDED, torch.device("cpu"), torch.float32, lambda text: None)
    vae, one = model._pipe.vae, request(4, 0)  # type: ignore[attr-defined]
    corners = torch.tensor([[1.0, 0.1, 0.1, 0.9], [0.1, 0.9, 0.1, 0.9], [0.1, 0.1, 0.9, 0.9]]).view(1, 3, 2, 2)
    picture = F.interpolate(corners, size=(64, 64), mode="nearest")
    with torch.inference_mode():
        encoded = vae.encode(picture * 2 - 1).latent_dist.mode()
        latents = (encoded - vae.config.shift_factor) * vae.config.scaling_factor
        packed = model._pipe._pack_latents(latents, 1, latents.shape[1], *latents.shape[2:])  # type: ignore[attr-defined]
        preview = model.preview(one, packed)
    assert (preview.shape, preview.dtype) == ((8, 8, 3), torch.uint8)
    centres = preview.permute(2, 0, 1)[:, 1::4, 1::4] / 255
    assert (centres - corners[0]).abs().mean() < 0.15


def test_the_estimate_is_exact_where_the_velocity_is_constant() -> None:
    noise, clean = torch.randn(1, 8, 4), torch.randn(1, 8, 4)
    sigmas = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0])
    at = [sigma * noise + (1 - sigma) * clean for sigma in sigmas]
    torch.testing.assert_close(final_estimate(at[1], at[3], sigmas, 1, 2), clean)


@pytest.mark.parametrize(("num_partial", "marks"), [(0, []), (1, [5]), (2, [4, 7]), (3, [3, 5, 8])])
def test_partial_images_are_evenly_spaced_and_none_comes_with_the_last_step(num_partial: int, marks: list[int]) -> None:
    one = request(10, num_partial)
    assert [step + 1 for step in range(10) if is_partial_due(one, step, 1)] == marks
    assert not is_partial_due(one, 5, 5)
    assert is_partial_due(one, 0, 9) == bool(marks)
