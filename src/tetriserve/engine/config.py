"""What the engine is told at start, and what that means on this machine."""

from dataclasses import dataclass
from pathlib import Path

from tetriserve.engine.devices import resolve_devices, resolve_dtype, threads_per_worker
from tetriserve.engine.messages import Setup
from tetriserve.models.card import read_card


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`devices` as in `engine.devices`; `dtype` "auto" is float32 on CPUs and bfloat16 on GPUs."""

    model_dir: Path
    devices: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """An EngineConfig with nothing left to guess: one torch device name for each worker."""

    model_dir: Path
    devices: tuple[str, ...]
    dtype: str

    def setups(self, rendezvous: Path) -> list[Setup]:
        """What each worker is told first. `rendezvous` is a file that doesn't exist yet."""
        threads = threads_per_worker(self.devices)
        return [
            Setup(str(self.model_dir), self.devices, rank, self.dtype, threads, str(rendezvous))
            for rank in range(len(self.devices))
        ]


def resolve(config: EngineConfig) -> ResolvedConfig:
    """Look at the model directory and the hardware. Raises ConfigurationError."""
    read_card(config.model_dir)
    devices = resolve_devices(config.devices)
    return ResolvedConfig(config.model_dir.resolve(), devices, resolve_dtype(config.dtype, devices))
