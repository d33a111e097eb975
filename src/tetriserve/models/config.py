"""What an operator chooses about how a model is loaded. Importable without torch."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import setting

MAX_PROMPT_CACHE_MIB = 2**20
EncoderPlace = Literal["resident", "offload", "cpu"]


@dataclass(frozen=True, slots=True)
class Lora:
    """A file of low-rank changes of weights, and how strongly they are applied."""

    path: Path
    scale: float

    @classmethod
    def parse(cls, text: str) -> "Lora":
        """`FILE` or `FILE=SCALE`. Raises ConfigurationError if there is no such file, or the scale is no number."""
        name, _, number = text.rpartition("=")
        try:
            scale = float(number)
        except ValueError:
            name, scale = text, 1.0
        path = Path(name).expanduser().resolve()
        if path.suffix != ".safetensors":
            raise ConfigurationError(f"lora {text!r}: expected FILE.safetensors or FILE.safetensors=SCALE")
        if not path.is_file():
            raise ConfigurationError(f"lora {text!r}: there is no file {name!r}")
        if not math.isfinite(scale):
            raise ConfigurationError(f"lora {text!r}: the scale must be a finite number")
        return cls(path, scale)

    def __str__(self) -> str:
        return f"{self.path}={self.scale!r}"


@dataclass(frozen=True, slots=True)
class LoadingConfig:
    """`transformer` and `loras` are paths as text, because workers get this over a pipe."""

    transformer: str | None = setting(
        None,
        "a safetensors file with the network's weights, used instead of the model's own: in the layout of diffusers or "
        "in the original one of FLUX and Stable Diffusion 3, which ComfyUI uses, too",
        metavar="FILE",
    )
    encoders: EncoderPlace = setting(
        "resident",
        "where text encoders are: on the device; on the host, and on the device for every prompt that is encoded; or "
        "on the host's CPUs for good, which takes seconds a prompt",
        choices=get_args(EncoderPlace),
    )
    prompt_cache_mib: int = setting(
        128,
        "room for prompts that were encoded of late and are not encoded again, on every device; 0 keeps none",
        metavar="N",
    )
    loras: tuple[str, ...] = setting(
        (),
        "LoRAs that are merged into the weights at start, safetensors files, each as strong as its scale says "
        "(default 1); needs the extra `lora`",
        name="lora",
        metavar="FILE[=SCALE],...",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.prompt_cache_mib <= MAX_PROMPT_CACHE_MIB:
            raise ConfigurationError(
                f"prompt_cache_mib is {self.prompt_cache_mib}, must be from 0 to {MAX_PROMPT_CACHE_MIB}"
            )

    def resolved(self) -> "LoadingConfig":
        """The same with absolute paths. Raises ConfigurationError if there is no such file."""
        loras = tuple(str(Lora.parse(text)) for text in self.loras)
        if self.transformer is None:
            return replace(self, loras=loras)
        path = Path(self.transformer).expanduser().resolve()
        if not path.is_file():
            raise ConfigurationError(f"transformer {self.transformer!r}: there is no such file")
        return replace(self, transformer=str(path), loras=loras)


AS_IT_IS = LoadingConfig()
"""All of it from the model's directory."""
