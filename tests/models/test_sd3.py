"""Stable Diffusion 3 and 3.5 on one device, in this process, against diffusers."""

import pytest
import torch

from models.test_flux import latents, load
from parity.fixtures import GetCheckpoint
from parity.reference import Reference
from parity.sd3_checkpoint import KINDS
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.patches import from_patches


def request(guidance: float, size: str = "80x48", negative: str = "") -> Request:
    return Request("r", "a blue house", Size.parse(size), 4, guidance, 3, 0.0, 0.0, negative)


@pytest.mark.parametrize("guidance", [1.0, 4.5])
@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_those_of_diffusers(
    kind: str, guidance: float, checkpoint: GetCheckpoint, reference: Reference
) -> None:
    asked = request(guidance, negative="ugly snow")
    expected = reference.call(checkpoint(kind), asked, "latent")
    model = load(checkpoint, kind)
    ours = from_patches(latents(model, asked)[None], 2, asked.size.height // 8, asked.size.width // 8)[0]
    assert (ours - expected).abs().max() < 5e-5 * expected.abs().max()  # in fp64 they agree to 3e-16


@pytest.mark.parametrize("kind", ["sd3", "sd3.5-large"])
def test_a_blank_state_has_the_shapes_of_an_encoded_one(kind: str, checkpoint: GetCheckpoint) -> None:
    model = load(checkpoint, kind, torch.bfloat16)
    with torch.inference_mode():
        encoded, blank = model.encode(request(4.5)), model.blank(request(4.5))
    for ours, theirs in zip(
        (blank.latents, *blank.conditioning), (encoded.latents, *encoded.conditioning), strict=True
    ):
        assert (ours.shape, ours.dtype) == (theirs.shape, torch.bfloat16)
        assert theirs.dtype == torch.bfloat16
    assert torch.equal(blank.sigmas, encoded.sigmas)
