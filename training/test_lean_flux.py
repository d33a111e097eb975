"""`python -m pytest training/test_lean_flux.py`: lean forward pass and diffusers' own agree."""

import lean_flux
import torch
from latents import Size
from networks import POOLED_WIDTH, TEXT_WIDTH, make_transformer
from torch import nn
from train_transformer import image_ids


def randomise(module: nn.Module) -> None:
    """Replace zero and one initialisations, behind which differences could hide."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.05)


def test_lean_forward_equals_diffusers() -> None:
    """Values and gradients agree in float32."""
    torch.manual_seed(0)
    model, size, num_text = make_transformer(), Size(96, 80, (1, 1, 1)), 32
    randomise(model)
    ids = image_ids(size, "cpu")
    noisy, times = torch.randn(3, size.num_tokens, 64), torch.rand(3)
    condition = lean_flux.Condition(torch.randn(3, num_text, TEXT_WIDTH), torch.randn(3, POOLED_WIDTH))
    blocks = nn.ModuleDict(
        {"double_blocks": model.transformer_blocks, "single_blocks": model.single_transformer_blocks}
    )
    reference = model(
        hidden_states=noisy,
        timestep=times,
        encoder_hidden_states=condition.hidden,
        pooled_projections=condition.pooled,
        img_ids=ids,
        txt_ids=torch.zeros(num_text, 3),
        return_dict=False,
    )[0]
    table = lean_flux.rotary(model, ids, num_text, torch.float32)
    lean = lean_flux.forward(model, blocks, noisy, times, condition, table)
    torch.testing.assert_close(lean, reference, rtol=1e-4, atol=1e-4)
    weights = torch.randn_like(reference)
    for ours, theirs in zip(
        torch.autograd.grad((lean * weights).sum(), list(model.parameters())),
        torch.autograd.grad((reference * weights).sum(), list(model.parameters())),
        strict=True,
    ):
        assert (ours - theirs).norm() <= 1e-4 * theirs.norm() + 1e-5
