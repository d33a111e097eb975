"""The solver's schedule: flow matching. Knows sigmas, not the network that predicts velocities."""

from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from torch import Tensor

from tetriserve.core.errors import ConfigurationError


def check_scheduler(scheduler: Any) -> None:
    """Raises ConfigurationError for a solver whose step is not a plain Euler step."""
    kind = type(scheduler)
    if not issubclass(kind, FlowMatchEulerDiscreteScheduler):
        raise ConfigurationError(f"scheduler {kind.__name__} is not supported; Euler flow matching is")
    if scheduler.config.get("stochastic_sampling"):
        raise ConfigurationError("a scheduler with stochastic_sampling is not supported")


def linear_schedule(scheduler: Any, num_steps: int, num_tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Timesteps (num_steps,) and sigmas (num_steps + 1,), shifted for the image's size.

    Source: FluxPipeline.__call__, step 5, and QwenImagePipeline's. `scheduler` keeps nothing that a later call needs.
    """
    if num_steps == 1 and scheduler.config.get("shift_terminal"):
        # Sigmas are stretched so that the last is above zero. The only one is the first: diffusers divides 0 by 0.
        first = torch.tensor([1.0, 0.0], device=device)
        return first[:1] * scheduler.config.num_train_timesteps, first
    sigmas = None if scheduler.config.get("use_flow_sigmas") else np.linspace(1.0, 1 / num_steps, num_steps).tolist()
    timesteps, _ = retrieve_timesteps(scheduler, num_steps, device, sigmas=sigmas, mu=_shift(scheduler, num_tokens))
    return timesteps, scheduler.sigmas


def own_schedule(scheduler: Any, num_steps: int, num_tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The scheduler's own sigmas, shifted if it asks for that. Source: StableDiffusion3Pipeline.__call__, step 5."""
    shifts: Any = {"mu": _shift(scheduler, num_tokens)} if scheduler.config.get("use_dynamic_shifting") else {}
    timesteps, _ = retrieve_timesteps(scheduler, num_steps, device, **shifts)
    return timesteps, scheduler.sigmas


def _shift(scheduler: Any, num_tokens: int) -> float:
    """The scheduler's shift for an image of so many tokens."""
    config = scheduler.config
    shift: float = calculate_shift(
        num_tokens,
        config.get("base_image_seq_len", 256),
        config.get("max_image_seq_len", 4096),
        config.get("base_shift", 0.5),
        config.get("max_shift", 1.15),
    )
    return shift


def final_estimate(before: Tensor, after: Tensor, sigmas: Tensor, first_step: int, num_steps: int) -> Tensor:
    """Where latents would end if they went on as they did from step `first_step` on, for `num_steps` steps.

    The mean velocity of those steps, followed down to sigma 0: an estimate of the noise-free latents.
    """
    begin, end = sigmas[first_step], sigmas[first_step + num_steps]
    return after.float() - end * (after.float() - before.float()) / (end - begin)
