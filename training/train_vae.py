"""Stage one: the autoencoder, on crops of sprites at several scales and on coloured backgrounds."""

import random
from pathlib import Path

import torch
import torch.nn.functional as F
from colours import BACKGROUNDS
from loop import Average, Clock, LossGuard, learning_rate, load, save
from networks import make_vae
from sprites import Sprites

CROP_PX = 128
SIDES_PX, SIDE_WEIGHTS = (128, 192, 256, 384, 512), (3, 1, 5, 1, 2)
SHARE_ON_WHITE = 0.67
PEAK_LEARNING_RATE = 2e-3
KL_WEIGHT = 1e-3


def random_colours(count: int) -> torch.Tensor:
    """Return (count, 3) in 0..1: white for two thirds, else one of the backgrounds."""
    palette = torch.tensor(list(BACKGROUNDS.values())) / 255
    chosen = palette[torch.randint(len(palette), (count,))]
    return torch.where(torch.rand(count, 1) < SHARE_ON_WHITE, torch.ones(3), chosen)


def random_crops(sprites: Sprites, count: int, rng: random.Random) -> torch.Tensor:
    """Return (count, 3, CROP_PX, CROP_PX) in -1..1, all of one random scale."""
    side = rng.choices(SIDES_PX, SIDE_WEIGHTS)[0]
    indices = torch.randint(len(sprites), (count,), device=sprites.device)
    canvas = sprites.single(indices, side, side, random_colours(count))
    top, left = (rng.randint(0, side - CROP_PX) for _ in range(2))
    crops = canvas[:, :, top : top + CROP_PX, left : left + CROP_PX]
    return crops.flip(3) if rng.random() < 0.5 else crops


def edges(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return differences between horizontal and between vertical neighbours."""
    return images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]


def reconstruction_loss(decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """L1 and L2 of pixels, and L1 of their differences (keeps outlines sharp)."""
    pixel = F.l1_loss(decoded, images) + F.mse_loss(decoded, images)
    return pixel + 0.5 * sum(F.l1_loss(a, b) for a, b in zip(edges(decoded), edges(images), strict=True))


def train_vae(sprites: Sprites, work: Path, clock: Clock, batch: int) -> None:
    """Train (or go on) until the clock is over; leave `vae.pt` in `work`."""
    device = sprites.device
    vae = make_vae().to(device, memory_format=torch.channels_last)
    parameters = list(vae.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    average, step = Average(parameters, decay=0.998), 0
    if state := load(work / "vae.pt", device):
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, step, clock.spent_before_s = state["average"], state["step"], state["spent_s"]
    rng, guard = random.Random(step), LossGuard(device)
    torch.manual_seed(step)
    while not clock.is_over:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK_LEARNING_RATE, step, clock.progress, 200, 0.2)
        images = random_crops(sprites, batch, rng).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            posterior = vae.encode(images).latent_dist
            decoded = vae.decode(posterior.sample()).sample
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = reconstruction_loss(decoded.float(), images) + KL_WEIGHT * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(step)
        guard.watch(loss)
        step += 1
        if step % 250 == 0:
            guard.check(step)
            print(f"vae step {step} {clock.spent_s:.0f} s loss {loss.item():.4f} kl {kl.item():.3f}", flush=True)
    guard.check(step)
    save(
        {
            "vae": vae.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.values,
            "step": step,
            "spent_s": clock.spent_s,
        },
        work / "vae.pt",
    )


@torch.no_grad()
def finish_vae(sprites: Sprites, work: Path) -> None:
    """Write the averaged VAE to `work`/vae, shift and scale set from the data's latents; print its PSNR."""
    device = sprites.device
    vae = make_vae().to(device, memory_format=torch.channels_last).eval()
    state = load(work / "vae.pt", device)
    vae.load_state_dict(state["vae"])
    for parameter, value in zip(vae.parameters(), state["average"], strict=True):
        parameter.copy_(value)
    indices = torch.randperm(len(sprites), generator=torch.Generator().manual_seed(0))[:512].to(device)
    latents, errors = [], []
    for chunk in indices.split(64):
        images = sprites.single(chunk, 256, 256)
        mean = vae.encode(images).latent_dist.mean
        decoded = vae.decode(mean).sample.clamp(-1, 1)
        latents.append(mean)
        errors.append(((decoded - images) ** 2).mean((1, 2, 3)))
    values, psnr = torch.cat(latents), 10 * torch.log10(4 / torch.cat(errors))
    vae.register_to_config(shift_factor=values.mean().item(), scaling_factor=1 / values.std().item())
    print(
        f"vae after {state['step']} steps: PSNR at 256 px {psnr.mean().item():.2f} dB (mean of 512 images), "
        f"latent mean {values.mean().item():.3f} std {values.std().item():.3f} "
        f"by channel {[round(s, 2) for s in values.std((0, 2, 3)).tolist()]}",
        flush=True,
    )
    vae.save_pretrained(work / "vae")
