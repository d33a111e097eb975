"""Qwen-Image on one device, in this process, against diffusers."""

import pytest
import torch
from diffusers import QwenImageTransformer2DModel

from models.test_flux import CPU, latents, load
from parity.fixtures import GetCheckpoint
from parity.reference import Reference
from tetriserve.core.errors import ConfigurationError
from tetriserve.core.request import Request
from tetriserve.core.size import Size
from tetriserve.models.packed_transformer import Packing
from tetriserve.models.qwen_network import pack_qwen, positions, rotary


def request(guidance: float, prompt: str = "a blue house") -> Request:
    return Request("r", prompt, Size(80, 48), 4, guidance, 3, 0.0, 0.0, "ugly")


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("prompt", ["cat", " ".join(["a red cat"] * 40)], ids=["short", "too long"])
def test_latents_are_those_of_diffusers(
    prompt: str, guidance: float, checkpoint: GetCheckpoint, reference: Reference
) -> None:
    """The negative prompt has another number of tokens than the prompt, and one prompt is cut."""
    asked = request(guidance, prompt)
    expected = reference.call(checkpoint("qwen-image"), asked, "latent")
    assert (latents(load(checkpoint, "qwen-image"), asked) - expected).abs().max() < 2e-5 * expected.abs().max()


def test_a_blank_state_has_the_shapes_of_an_encoded_one(checkpoint: GetCheckpoint) -> None:
    model = load(checkpoint, "qwen-image", torch.bfloat16)
    with torch.inference_mode():
        encoded, blank = model.encode(request(4.0)), model.blank(request(4.0))
    for ours, theirs in zip(
        (blank.latents, *blank.conditioning), (encoded.latents, *encoded.conditioning), strict=True
    ):
        assert (ours.shape, ours.dtype, theirs.dtype) == (theirs.shape, torch.bfloat16, torch.bfloat16)
    assert torch.equal(blank.sigmas, encoded.sigmas)


@pytest.mark.parametrize(("height", "width"), [(3, 5), (8, 4)])
def test_angles_are_those_of_diffusers(height: int, width: int) -> None:
    network = QwenImageTransformer2DModel(num_layers=0, num_attention_heads=1)
    image, text = network.pos_embed([(1, height, width)], device=CPU, max_txt_seq_len=7)
    ours = rotary(network.config.axes_dims_rope, torch.cat(positions(7, height, width)), CPU)
    theirs = torch.cat((text, image))
    assert torch.allclose(torch.complex(ours.cos, ours.sin), theirs, atol=1e-6)


def test_a_network_that_edits_images_is_refused() -> None:
    network = QwenImageTransformer2DModel(num_layers=0, num_attention_heads=1, zero_cond_t=True)
    with pytest.raises(ConfigurationError, match="zero_cond_t"):
        pack_qwen(network, Packing(CPU))
