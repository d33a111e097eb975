"""What a model takes of a device's memory, before any of it is loaded. Weights are exact, all else is estimated."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.core.steps import MAX_INTERRUPTED
from tetriserve.models.card import ModelCard
from tetriserve.models.config import EncoderPlace
from tetriserve.models.denoise import PREPARED_BYTES
from tetriserve.models.model_size import ModelSize
from tetriserve.models.vae import TILE_PX

GIB = 2**30
STEP_WIDTHS = 16
"""Tensors of the network's width that are alive at once in a step: stream, norm, branch, q, k, v, those of the MLP."""
HIDDEN_WIDTHS = 2
"""And those that a step keeps which is interrupted: stream, and what the next block takes."""
DECODE_MAPS = 4
"""Feature maps at full resolution that are alive at once in a decode: a residual, its norm, a convolution's output."""
CLIP_TOKENS = 77
GRAPH_BYTES = 32 * 2**20
"""Beside the pool that all graphs share. Source: docs/log.md, "tens of MB"."""
KEPT_REQUESTS = 16
"""More than so many hardly wait between their chunks on one device."""
LIBRARIES_BYTES = GIB
"""Workspaces of cuBLAS, cuDNN and NCCL, and kernels. Assumed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What an operator can change. `sizes` with the largest batch of each, smallest first; may be empty."""

    sizes: tuple[tuple[Size, int], ...]
    encoders: EncoderPlace
    eight_bits: bool
    itemsize: int
    tiled: bool = False
    """Large images are decoded in tiles, which the engine does by itself where it must."""

    def describe(self, other: "Choice") -> str:
        """The options that lead from `other` to this."""
        options = []
        if self.encoders != other.encoders:
            options.append(f"--encoders {self.encoders}")
        if self.eight_bits != other.eight_bits:
            options.append("--dtype fp8")
        if self.sizes != other.sizes:
            options.append(f"--sizes {','.join(str(size) for size, _ in self.sizes)}")
        return " ".join(options)


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Of one of `num_devices` devices: of a GPU, which may have 8-bit products, or of a worker on the host.

    `may_interrupt`: steps may stand still on it, each with its hidden states. `cached_prompts`: bytes for those.
    """

    model: ModelSize
    card: ModelCard
    is_gpu: bool
    has_8_bits: bool
    num_devices: int
    may_interrupt: bool = True
    cached_prompts: int = 0

    def parts(self, choice: Choice) -> Mapping[str, int]:
        """Bytes by what they are for."""
        encoders = self.model.encoders * choice.itemsize
        is_on_device = choice.encoders == "resident" or not self.is_gpu
        step, decode = self._alive(choice, STEP_WIDTHS), self._decode(choice)
        interrupted = MAX_INTERRUPTED * self._alive(choice, HIDDEN_WIDTHS, batched=False) * self.may_interrupt
        at_work = max(step, decode, 0 if is_on_device else encoders * (choice.encoders == "offload"))
        parts = {
            "network": self._network(choice),
            "text encoders": encoders if is_on_device else 0,
            "VAE": self.model.vae * choice.itemsize,
            "at work": at_work,
            "requests": self._requests(choice) + interrupted + self.cached_prompts,
        }
        if self.is_gpu:
            groups = self.num_devices.bit_length()
            parts["graphs"] = step + GRAPH_BYTES * groups * sum(batch.bit_length() for _, batch in choice.sizes)
            parts["libraries"] = LIBRARIES_BYTES
        return parts

    def total(self, choice: Choice) -> int:
        """All of it."""
        return sum(self.parts(choice).values())

    def describe(self, choice: Choice, available: int) -> str:
        """A sentence for the operator."""
        parts = ", ".join(f"{name} {_gib(size)}" for name, size in self.parts(choice).items() if size)
        tiled = ", decoding large images in tiles" if choice.tiled else ""
        return f"{self.card.name} needs {_gib(self.total(choice))} of {_gib(available)} GiB here ({parts}){tiled}"

    def fitted(self, choice: Choice, available: int) -> Choice:
        """`choice` as it fits into `available` bytes: as it is, or `tiled`.

        Raises ConfigurationError, with what would fit, if neither does.
        """
        for as_asked in (choice, replace(choice, tiled=True)):
            if self.total(as_asked) <= available:
                return as_asked
        choice = replace(choice, tiled=True)
        fitting = next((other for other in self._others(choice) if self.total(other) <= available), None)
        if fitting is not None:
            advice = f"{_gib(self.total(fitting))} GiB are enough with {fitting.describe(choice)}"
        else:
            least = min(self.total(other) for other in (choice, *self._others(choice)))
            advice = f"no less than {_gib(least)} GiB would do with other options"
        raise ConfigurationError(f"{self.describe(choice, available)}; {advice}")

    def _others(self, choice: Choice) -> Sequence[Choice]:
        """What else could be chosen, the fewest changes first."""
        places: tuple[EncoderPlace, ...] = ("resident", "offload", "cpu") if self.is_gpu else ("resident",)
        sizes = [choice.sizes[:count] for count in range(len(choice.sizes), 0, -1)] or [()]
        formats = dict.fromkeys((choice.eight_bits, self.has_8_bits or choice.eight_bits))
        others = [
            replace(choice, sizes=kept, encoders=place, eight_bits=eight, itemsize=2 if eight else choice.itemsize)
            for kept, eight, place in itertools.product(sizes, formats, places)
        ]
        return sorted(others, key=lambda other: len(other.describe(choice).split("--")))

    def _network(self, choice: Choice) -> int:
        """In 8 bits once the blocks are converted, one by one; random weights are on the device before that."""
        if not choice.eight_bits or self.card.weights == "random":
            return self.model.network * choice.itemsize
        return self.model.network * choice.itemsize - self.model.eight_bit * (choice.itemsize - 1)

    def _alive(self, choice: Choice, widths: int, *, batched: bool = True) -> int:
        """So many tensors of the network's width of the largest batch, or image, that runs on a device alone."""
        passes = 2 if self.card.guidance == "true_cfg" else 1
        num_text = self.card.max_sequence_length + CLIP_TOKENS
        counts = ((num_text + size.num_tokens, batch if batched else 1) for size, batch in choice.sizes)
        tokens = max((tokens * count for tokens, count in counts), default=0)
        return tokens * passes * widths * self.model.width * choice.itemsize

    def _decode(self, choice: Choice) -> int:
        pixels = max((size.width * size.height for size, _ in choice.sizes), default=0)
        pixels = min(pixels, TILE_PX**2) if choice.tiled else pixels
        return pixels * DECODE_MAPS * self.model.decode_channels * choice.itemsize

    def _requests(self, choice: Choice) -> int:
        """Modulations of all steps of a request, for as many requests as there is room for, or for a whole batch."""
        passes = 2 if self.card.guidance == "true_cfg" else 1
        table = self.model.modulation * self.card.default_num_inference_steps * passes * choice.itemsize
        largest_batch = max((batch for _, batch in choice.sizes), default=1)
        return max(min(PREPARED_BYTES, KEPT_REQUESTS * table), largest_batch * table)


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f}"
