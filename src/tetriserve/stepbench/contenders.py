"""The engines that take part, each on a full-size FLUX.1-dev with the same random weights in bf16.

A contender is made on every GPU of a run and gives, for a cell, a callable that takes one step.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig, FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from tetriserve.core.request import Request
from tetriserve.models.architectures import architecture_directory
from tetriserve.models.denoise import Denoiser
from tetriserve.models.loading import load_model
from tetriserve.models.ulysses import SequenceGroup
from tetriserve.stepbench.cells import StepCell

NUM_TEXT = 512
STD = 0.02
RECOMPILE_LIMIT = 64
"""Enough for every cell to have code of its own."""


class Contender(Protocol):
    """An engine on one GPU of a run."""

    def step(self, cell: StepCell) -> Callable[[], object]:
        """Make ready, and return what takes one step. All ranks call both."""
        ...


def random_weights(module: Any, device: torch.device) -> Any:
    """Fill a module that has no memory yet, in place: bf16, norms at one, the rest normal with one seed."""
    module = module.to(torch.bfloat16).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1 and "norm" in name:
            parameter.fill_(1.0)
        else:
            parameter.normal_(0, STD, generator=generator)
    return module


def flux(device: torch.device, model_class: Any = FluxTransformer2DModel) -> Any:
    """FLUX.1-dev's transformer, which is diffusers' default but for the guidance embedding."""
    with torch.device("meta"):
        module = model_class(guidance_embeds=True)
    return random_weights(module, device)


class TetriServe:
    """Ours: the engine's own adapter and solver, with everything that a chunk of one step costs."""

    def __init__(self, device: torch.device, group: SequenceGroup, *, fp8: bool = False) -> None:
        self._adapter = load_model(
            architecture_directory("flux1-dev"), device, torch.bfloat16, report=lambda text: None, eight_bits=fp8
        )
        self._denoiser = Denoiser(self._adapter)
        self._group = group

    def step(self, cell: StepCell) -> Callable[[], object]:
        """A step from a graph."""
        requests = [Request(f"{cell}-{i}", "", cell.size, 28, 3.5, 0, 0.0, 0.0) for i in range(cell.batch)]
        states = [self._adapter.blank(request) for request in requests]
        for state in states:
            for tensor in (state.latents, *state.conditioning):
                tensor.normal_()
        self._denoiser.capture(states, self._group)
        return lambda: self._denoiser.run(states, [0] * cell.batch, 1, self._group)


class Diffusers:
    """FluxTransformer2DModel as it is, with compiled blocks, or with diffusers' own context parallelism."""

    def __init__(self, transformer: Any, *, compiled: bool = False, degree: int = 1) -> None:
        self._transformer = transformer
        self._device: torch.device = transformer.device
        if degree > 1:
            parallel: Any = ContextParallelConfig(ulysses_degree=degree)
            transformer.enable_parallelism(config=parallel)
        if compiled:
            compile_blocks(transformer)

    def step(self, cell: StepCell) -> Callable[[], object]:
        """One forward pass."""
        inputs = _inputs(cell, self._device)
        return lambda: self._transformer(**inputs)


def compile_blocks(transformer: Any) -> None:
    """As diffusers recommends it: same speed as the whole compiled, at a fraction of the time."""
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    transformer.compile_repeated_blocks(fullgraph=True)


def xdit(device: torch.device, degree: int) -> Any:
    """The transformer of xDiT, which keeps its configuration in globals. Source: xfuser's own examples."""
    sys.modules.setdefault("av", ModuleType("av"))  # only its video models need it
    from xfuser import xFuserArgs  # noqa: PLC0415  (not a dependency: whoever compares installs it)
    from xfuser.core.distributed import (  # noqa: PLC0415
        init_distributed_environment,
        initialize_model_parallel,
        runtime_state,
    )
    from xfuser.model_executor.models.transformers.transformer_flux import (  # noqa: PLC0415
        xFuserFlux1Transformer2DWrapper,
    )

    init_distributed_environment(rank=dist.get_rank(), world_size=degree)
    initialize_model_parallel(sequence_parallel_degree=degree, ulysses_degree=degree)

    class State(runtime_state.ExternalRuntimeState):  # type: ignore[misc]
        def __init__(self) -> None:
            config, _ = xFuserArgs(ulysses_degree=degree).create_config()
            runtime_state.RuntimeState.__init__(self, config)
            self.max_condition_sequence_length = NUM_TEXT
            self.split_text_embed_in_sp = True

    runtime_state._RUNTIME = State()
    return flux(device, xFuserFlux1Transformer2DWrapper)


def make(name: str, device: torch.device, group: SequenceGroup) -> Contender:
    """A contender by name, on this rank."""
    match name:
        case "tetriserve" | "tetriserve-fp8":
            return TetriServe(device, group, fp8=name.endswith("fp8"))
        case "diffusers" | "diffusers-compiled":
            return Diffusers(flux(device), compiled=name.endswith("compiled"))
        case "diffusers-parallel":
            return Diffusers(flux(device), degree=group.degree)
        case "xdit" | "xdit-compiled":
            return Diffusers(xdit(device, group.degree), compiled=name.endswith("compiled"))
    raise AssertionError(name)


def _inputs(cell: StepCell, device: torch.device) -> dict[str, Any]:
    """Arguments of the transformer's forward pass."""
    generator = torch.Generator(device).manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, device=device, dtype=torch.bfloat16, generator=generator)

    ids = FluxPipeline._prepare_latent_image_ids(
        1, cell.size.height // 16, cell.size.width // 16, device, torch.bfloat16
    )
    return {
        "hidden_states": random(cell.batch, cell.size.num_tokens, 64),
        "encoder_hidden_states": random(cell.batch, NUM_TEXT, 4096),
        "pooled_projections": random(cell.batch, 768),
        "timestep": torch.full((cell.batch,), 0.5, device=device, dtype=torch.bfloat16),
        "guidance": torch.full((cell.batch,), 3.5, device=device),
        "img_ids": ids,
        "txt_ids": torch.zeros(NUM_TEXT, 3, device=device, dtype=torch.bfloat16),
        "return_dict": False,
    }
