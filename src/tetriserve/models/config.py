"""What an operator chooses about how a model is loaded. Importable without torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import setting

MAX_PROMPT_CACHE_MIB = 2**20
EncoderPlace = Literal["resident", "offload", "cpu"]


@dataclass(frozen=True, slots=True)
class LoadingConfig:
    """`transformer` is a path as text, because workers get this over a pipe."""

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

    def __post_init__(self) -> None:
        if not 0 <= self.prompt_cache_mib <= MAX_PROMPT_CACHE_MIB:
            raise ConfigurationError(
                f"prompt_cache_mib is {self.prompt_cache_mib}, must be from 0 to {MAX_PROMPT_CACHE_MIB}"
            )

    def resolved(self) -> "LoadingConfig":
        """The same with an absolute path. Raises ConfigurationError if there is no such file."""
        if self.transformer is None:
            return self
        path = Path(self.transformer).expanduser().resolve()
        if not path.is_file():
            raise ConfigurationError(f"transformer {self.transformer!r}: there is no such file")
        return replace(self, transformer=str(path))


AS_IT_IS = LoadingConfig()
"""All of it from the model's directory."""
