"""What the engine is told at start, and what that means on this machine."""

from dataclasses import dataclass
from pathlib import Path

from tetriserve.core.size import Size
from tetriserve.cost.batches import batches_for
from tetriserve.engine.devices import resolve_devices, resolve_dtype, threads_per_worker
from tetriserve.engine.messages import Setup
from tetriserve.models.card import read_card
from tetriserve.models.config import AS_IT_IS, LoadingConfig


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`devices` as in `engine.devices`; `dtype` "auto" is float32 on CPUs and bfloat16 on GPUs.

    Steps of the `sizes` are made ready at start as graphs, on GPUs; other sizes run as well, less fast. Memory for
    interrupted steps is planned only where the scheduler `may_interrupt` some.
    """

    model_dir: Path
    devices: str = "auto"
    dtype: str = "auto"
    sizes: tuple[Size, ...] = ()
    loading: LoadingConfig = AS_IT_IS
    may_interrupt: bool = True


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """An EngineConfig with nothing left to guess: one torch device name for each worker."""

    model_dir: Path
    devices: tuple[str, ...]
    dtype: str
    sizes: tuple[Size, ...] = ()
    loading: LoadingConfig = AS_IT_IS
    may_interrupt: bool = True

    def setup(self, rank: int) -> Setup:
        """What a worker is told first."""
        threads = threads_per_worker(self.devices)
        cells = tuple((size, batch) for size in self.sizes for batch in batches_for(size))
        model_dir = str(self.model_dir)
        return Setup(model_dir, self.devices, rank, self.dtype, threads, cells, self.loading, self.may_interrupt)

    @property
    def can_abort(self) -> bool:
        """Whether a rank notices that another has left an exchange: by its closed sockets, but not in a kernel."""
        return self.devices[0] == "cpu"

    @property
    def join_limit_s(self) -> float:
        """Seconds of silence after which a worker hangs that makes groups: on GPUs it records graphs there."""
        return 10.0 if self.devices[0] == "cpu" else 60.0


def resolve(config: EngineConfig) -> ResolvedConfig:
    """Look at the model directory and the hardware. Raises ConfigurationError."""
    read_card(config.model_dir)
    devices = resolve_devices(config.devices)
    dtype, loading = resolve_dtype(config.dtype, devices), config.loading.resolved()
    return ResolvedConfig(config.model_dir.resolve(), devices, dtype, config.sizes, loading, config.may_interrupt)
