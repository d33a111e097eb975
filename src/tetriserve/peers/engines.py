"""The engines of peers, whole pipelines: text encoders, steps, VAE, as their own examples put them together."""

import os
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.attention import SDPBackend, sdpa_kernel

from tetriserve.models.card import ModelCard
from tetriserve.models.loading import load_diffusers, quiet_libraries
from tetriserve.peers.job import Job, Made, ReplicaPlan

BATCH = 4
"""Images in the batch of the variant `batch`."""


class PipelineEngine:
    """A diffusers pipeline on one rank of a replica."""

    def __init__(self, pipeline: Any, card: ModelCard) -> None:
        self._pipeline = pipeline
        self._card = card
        pipeline.set_progress_bar_config(disable=True)

    def make(self, job: Job) -> Made:
        """One image, as a user of diffusers would ask for it. All ranks of a replica call it."""
        begin_s = time.monotonic()
        count = BATCH if job.variant == "batch" else 1
        kernels = sdpa_kernel([SDPBackend.MATH]) if job.variant == "attention" else nullcontext()
        with kernels:
            images = self._pipeline(
                [job.prompt] * count,
                width=job.width,
                height=job.height,
                num_inference_steps=job.num_inference_steps,
                generator=[torch.Generator("cpu").manual_seed(job.seed + index) for index in range(count)],
                max_sequence_length=self._card.max_sequence_length,
                **self._guidance(job, count),
            ).images
        return Made(images[0].convert("RGB").tobytes(), time.monotonic() - begin_s)

    def _guidance(self, job: Job, count: int) -> dict[str, Any]:
        if self._card.guidance != "true_cfg":
            return {"guidance_scale": job.guidance_scale}
        scale = "guidance_scale" if self._card.pipeline == "StableDiffusion3Pipeline" else "true_cfg_scale"
        return {scale: job.guidance_scale, "negative_prompt": [""] * count}


def make_engine(plan: ReplicaPlan, rank: int) -> PipelineEngine:
    """The engine of a plan on this rank. Raises whatever its libraries raise, ImportError if they are not there."""
    torch.set_num_threads(plan.threads)
    torch.set_grad_enabled(False)
    torch.backends.cudnn.allow_tf32 = plan.dtype != "float32"  # as of our own workers
    quiet_libraries()
    device, dtype = _device(plan, rank), getattr(torch, plan.dtype)
    transformer = None
    if plan.engine.startswith("xdit"):
        from tetriserve.stepbench.contenders import xdit  # noqa: PLC0415  (needs GPUs and an optional library)

        _meet(plan, rank)
        transformer = xdit(device, plan.degree)
    pipeline, card = load_diffusers(Path(plan.model_dir), device, dtype, transformer)
    if plan.engine.endswith("compiled"):
        from tetriserve.stepbench.contenders import compile_blocks  # noqa: PLC0415

        compile_blocks(pipeline.transformer)
    return PipelineEngine(pipeline, card)


def _device(plan: ReplicaPlan, rank: int) -> torch.device:
    """A worker sees the GPUs of its replica alone (`peers.worker`), numbered from 0."""
    if plan.devices[0] == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    return device


def _meet(plan: ReplicaPlan, rank: int) -> None:
    """xDiT wants a default group, and torchrun's variables."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(plan.degree))
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29541")
    store = dist.FileStore(plan.store, plan.degree)  # type: ignore[attr-defined]
    dist.init_process_group("nccl", store=store, rank=rank, world_size=plan.degree)
