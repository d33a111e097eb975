"""What an operator chooses about how a model is loaded. Importable without torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.setting import setting

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
