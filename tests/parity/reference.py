"""What diffusers makes of a request, and how close we must come."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline

from tetriserve.core.image import Image
from tetriserve.core.request import Request
from tetriserve.models.card import read_card

TOLERANCE = 1e-4
"""Largest difference of a pixel to diffusers, on the scale 0 to 1, in fp32."""


class Reference:
    """Stock diffusers on the same directory; remembers what it has made."""

    def __init__(self, device: str = "cpu") -> None:
        torch.set_num_threads(1)  # more would fight with the workers for the cores
        torch.backends.cudnn.allow_tf32 = False
        self._device = device
        self._pipelines: dict[Path, DiffusionPipeline] = {}
        self._images: dict[tuple[Path, Request], np.ndarray] = {}

    def image(self, model_dir: Path, request: Request) -> np.ndarray:
        """(height, width, 3) in [0, 1]."""
        key = (model_dir, replace(request, request_id=""))
        if key not in self._images:
            self._images[key] = self._make(model_dir, request)
        return self._images[key]

    def pipeline(self, model_dir: Path) -> DiffusionPipeline:
        if model_dir not in self._pipelines:
            index = json.loads((model_dir / "model_index.json").read_text())
            absent = {name: None for name, entry in index.items() if entry == [None, None]}
            pipeline = DiffusionPipeline.from_pretrained(
                model_dir, dtype=torch.float32, local_files_only=True, **absent
            )
            pipeline.to(self._device)
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[model_dir] = pipeline
        return self._pipelines[model_dir]

    def call(self, model_dir: Path, request: Request, output_type: str) -> object:
        """What `pipe(...)` returns for a request, as a user of diffusers would ask for it."""
        card = read_card(model_dir)
        scale = "guidance_scale" if card.pipeline == "StableDiffusion3Pipeline" else "true_cfg_scale"
        guided = {scale: request.guidance_scale, "negative_prompt": request.negative_prompt}
        return self.pipeline(model_dir)(
            request.prompt,
            width=request.size.width,
            height=request.size.height,
            num_inference_steps=request.num_inference_steps,
            max_sequence_length=card.max_sequence_length,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            output_type=output_type,
            **(guided if card.guidance == "true_cfg" else {"guidance_scale": request.guidance_scale}),
        ).images[0]

    def _make(self, model_dir: Path, request: Request) -> np.ndarray:
        image = self.call(model_dir, request, "np")
        assert isinstance(image, np.ndarray)
        return image


def pixels(image: Image) -> np.ndarray:
    """(height, width, 3) uint8."""
    return np.frombuffer(image.rgb, np.uint8).reshape(image.height, image.width, 3)


def assert_same(image: Image, reference: np.ndarray) -> None:
    """Every byte is the rounded value of a pixel that differs from the reference by TOLERANCE at most."""
    assert (image.height, image.width, 3) == reference.shape
    difference = np.abs(pixels(image).astype(np.float64) - reference.astype(np.float64) * 255)
    assert difference.max() <= 0.5 + TOLERANCE * 255, f"differs by {difference.max() / 255:.2e}"
