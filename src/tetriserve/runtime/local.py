"""The library: images without a server, in three lines of Python.

>>> with tetriserve.Pipeline() as pipeline:
...     pipeline.generate("a red apple", size="256x256", seed=1).save("apple.png")
"""

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tetriserve.core.blocks import degrees
from tetriserve.core.params import GenerationParams
from tetriserve.cost.profile import unmeasured_profile
from tetriserve.engine.devices import count_gpus, resolve_devices
from tetriserve.models.card import read_card
from tetriserve.models.config import EncoderPlace, LoadingConfig
from tetriserve.models.source import find_model
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR, ServingConfig
from tetriserve.runtime.image_file import encode
from tetriserve.runtime.launch import LoadedModel, Progress, workers
from tetriserve.runtime.menu import Menu
from tetriserve.runtime.runtime import Progress as StepProgress
from tetriserve.runtime.runtime import Result
from tetriserve.runtime.service import Service
from tetriserve.scheduler.config import SchedulerConfig

NO_DEADLINE_S = 3600.0


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """An image with the seed it can be made again from. `latency_s` is what it took."""

    png: bytes = field(repr=False)
    seed: int
    latency_s: float
    warnings: tuple[str, ...]

    def save(self, path: str | Path) -> None:
        """Write the PNG file."""
        Path(path).write_bytes(self.png)


class Pipeline:
    """A model ready to draw. A context manager: workers start on entry and end on exit.

    `devices` "auto" is one GPU, else one worker on all cores; with more devices every step runs on the largest block of
    them that is a power of two, eight at most. `model`, `revision` and the rest are what the settings of
    those names are (docs/configuration.md); a model on the hub is downloaded at once. `progress` hears of the start
    and of every step of an image.
    Raises ConfigurationError, some of it on entry, if the model or the devices can't be used.
    """

    def __init__(
        self,
        model: str | Path = EMBEDDED_MODEL_DIR,
        devices: str = "auto",
        dtype: str = "auto",
        progress: Progress = lambda done, total, what: None,
        *,
        revision: str | None = None,
        transformer: str | None = None,
        encoders: EncoderPlace = "resident",
        loras: Sequence[str] = (),
    ) -> None:
        if devices == "auto":
            devices = "cuda:1" if count_gpus() else "cpu:1"
        degree = degrees(len(resolve_devices(devices)))[-1]
        policy = f"fixed-sp{min(degree, 8)}"
        # Nothing is measured, so nobody knows how long a chunk may take.
        scheduler = SchedulerConfig(hang_factor=math.inf)
        loading = LoadingConfig(transformer, encoders, loras=tuple(loras))
        config = ServingConfig(
            find_model(str(model)), revision, devices, dtype, policy=policy, scheduler=scheduler, loading=loading
        )
        self._config = config.fetched()
        card = read_card(self._config.model_dir)
        self._menu = Menu(card, self._config.sizes_for(card))
        self._progress = progress
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._service: Service | None = None

    def params(self, prompt: str, **options: Any) -> GenerationParams:
        """Check a call without making anything; options as in `Menu.params`. Raises InvalidRequestError."""
        return self._menu.params(prompt, **options)

    def generate(
        self,
        prompt: str,
        *,
        size: str = "auto",
        seed: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str = "",
    ) -> GeneratedImage:
        """One image, of the model's own defaults where nothing else is said. `size` is "WIDTHxHEIGHT" in pixels.

        Raises InvalidRequestError, or RequestFailedError if the engine could not make it.
        """
        params = self.params(
            prompt,
            size=size,
            seed=seed,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
        )
        return self.run(params)[0]

    def run(self, params: GenerationParams) -> list[GeneratedImage]:
        """All `params.n` images."""
        return self._runner.run(self._run(params.with_slo(NO_DEADLINE_S)))

    def __enter__(self) -> Self:
        try:
            self._service = self._runner.run(self._start())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._service = None
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def _start(self) -> Service:
        executor, mailbox = await self._stack.enter_async_context(workers(self._config, self._progress))
        profile = unmeasured_profile(self._menu.card.name, self._menu.sizes, degrees(executor.num_devices))
        return LoadedModel(self._menu, profile, executor, mailbox).service(self._config)

    async def _run(self, params: GenerationParams) -> list[GeneratedImage]:
        assert self._service is not None, "use the pipeline in a with statement"
        runtime = self._service.runtime
        requests = params.requests(runtime.new_request_id(), runtime.now_s())
        done, total = {request.request_id: 0 for request in requests}, params.n * params.num_inference_steps
        what = f"{params.n} x {params.size}, {params.num_inference_steps} steps"

        def watch(progress: StepProgress) -> None:
            done[progress.request.request_id] = progress.num_steps_done
            self._progress(sum(done.values()), total, what)

        self._progress(0, total, what)
        results = await asyncio.gather(*(runtime.generate(request, watch) for request in requests))
        return [_finished(result) for result in results]


def _finished(result: Result) -> GeneratedImage:
    outcome, image = result.outcome, result.image
    return GeneratedImage(encode(image), outcome.request.seed, outcome.latency_s, image.warnings)
