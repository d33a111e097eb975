"""The solver: flow matching with Euler steps. Knows sigmas and velocities, not the network that predicts them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from torch import Tensor

from tetriserve.models.adapter import ModelAdapter, RequestState
from tetriserve.models.ulysses import SequenceGroup


def schedule(scheduler: Any, num_steps: int, num_tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Timesteps (num_steps,) and sigmas (num_steps + 1,), shifted for the image's size.

    Source: FluxPipeline.__call__, step 5. `scheduler` keeps nothing that a later call needs.
    """
    config = scheduler.config
    mu = calculate_shift(
        num_tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
    sigmas = None if config.get("use_flow_sigmas") else np.linspace(1.0, 1 / num_steps, num_steps).tolist()
    timesteps, _ = retrieve_timesteps(scheduler, num_steps, device, sigmas=sigmas, mu=mu)
    return timesteps, scheduler.sigmas


def euler_step(latents: Tensor, velocity: Tensor, sigmas: Tensor, step: int) -> Tensor:
    """One step down the schedule, in fp32. Source: FlowMatchEulerDiscreteScheduler.step."""
    dt = sigmas[step + 1] - sigmas[step]
    return (latents.float() + dt * velocity).to(velocity.dtype)


def denoise(
    model: ModelAdapter,
    states: Sequence[RequestState],
    first_steps: Sequence[int],
    num_steps: int,
    group: SequenceGroup,
) -> None:
    """Take `num_steps` steps with every state; all ranks of the group call this together.

    Latents are whole on every rank before and after. Euler steps are elementwise, so in between they stay
    sharded.
    """
    network = model.network(states, group)
    split = network.latent_split
    latents = [split.shard(state.latents, dim=1) for state in states]
    for offset in range(num_steps):
        steps = [first + offset for first in first_steps]
        timesteps = [state.timesteps[step] for state, step in zip(states, steps, strict=True)]
        velocities = network(latents, timesteps)
        latents = [
            euler_step(x, v, state.sigmas, step)
            for x, v, state, step in zip(latents, velocities, states, steps, strict=True)
        ]
    for state, shard in zip(states, latents, strict=True):
        state.latents = split.gather(shard)
