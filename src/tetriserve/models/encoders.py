"""Where text encoders are while nothing is encoded, where they work, and what they have made of late.

They take as much memory as a small network.

They stay on the device, or on its host until a prompt has to be encoded, or are on the host for good and work there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from tetriserve.models.config import EncoderPlace, LoadingConfig
from tetriserve.models.encoder_graphs import GraphedForward
from tetriserve.models.prompt_cache import Encoded, PromptCache
from tetriserve.models.weights import replace_tensors, tensors_of

HOST = torch.device("cpu")
FIXED_LENGTH = frozenset({"CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"})
"""Encoders whose pipelines pad or cut every prompt to one length."""


@dataclass(frozen=True, slots=True)
class TextEncoders:
    """`modules` are where `home_of` says. Made once: for visits to a GPU their memory is pinned."""

    modules: Sequence[Any]
    place: EncoderPlace
    device: torch.device
    cache: PromptCache

    @classmethod
    def of(cls, pipeline: Any, loading: LoadingConfig, device: torch.device) -> "TextEncoders":
        """Those of a diffusers pipeline."""
        place, cache = loading.encoders, PromptCache(loading.prompt_cache_mib * 2**20)
        named = pipeline.components.items()
        modules = [part for name, part in named if name.startswith("text_encoder") and part is not None]
        if place == "offload" and device.type == "cuda":
            replace_tensors(modules, lambda x: x.pin_memory())
        if place == "resident" and device.type == "cuda":
            for module in modules:
                if type(module).__name__ in FIXED_LENGTH:
                    module.forward = GraphedForward(module.forward)
        return cls(modules, place, device, cache)

    def encoded(self, prompts: Sequence[str], encode: Callable[[str, torch.device], Encoded]) -> list[Encoded]:
        """Each prompt on the device. `encode` is called inside of `at_work` for those that aren't known."""
        found = {prompt: self.cache.find(prompt) for prompt in prompts}
        if None in found.values():
            with self.at_work() as device:
                for prompt in [prompt for prompt, known in found.items() if known is None]:
                    encoded = tuple(tensor.to(self.device) for tensor in encode(prompt, device))
                    self.cache.keep(prompt, encoded)
                    found[prompt] = encoded
        return [one for prompt in prompts if (one := found[prompt]) is not None]

    @contextmanager
    def at_work(self) -> Iterator[torch.device]:
        """The device on which they encode inside of this context."""
        if self.place != "offload":
            yield HOST if self.place == "cpu" else self.device
            return
        at_home = [place for module in self.modules for place in tensors_of(module)]
        # Copies from pinned memory run in the order of the device's work; nothing comes back, for nothing changes.
        replace_tensors(self.modules, lambda x: x.to(self.device, copy=True, non_blocking=True))
        try:
            yield self.device
        finally:
            for kept, name, tensor in at_home:
                kept[name] = tensor


def home_of(place: EncoderPlace, device: torch.device) -> torch.device:
    """Where encoders are loaded to."""
    return device if place == "resident" else HOST
