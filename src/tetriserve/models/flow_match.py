"""The solver's schedule: flow matching. Knows sigmas, not the network that predicts velocities."""

from typing import Any

import numpy as np
import torch
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from torch import Tensor


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
