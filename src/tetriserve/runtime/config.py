"""What an operator chooses before a service starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.params import MAX_SLO_S
from tetriserve.core.setting import group, setting
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.engine.devices import DTYPES, parse_devices
from tetriserve.models.card import ModelCard
from tetriserve.models.config import LoadingConfig
from tetriserve.models.source import fetch_model, find_model, model_name
from tetriserve.scheduler.config import SchedulerConfig

EMBEDDED_MODEL_DIR = Path(__file__).parent.parent / "embedded"


def read_sizes(raw: Any) -> tuple[Size, ...]:
    """Read `256x256,512x512`, or a list of such sizes. Raises ValueError, InvalidRequestError."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts) or not parts:
        raise ValueError("must be sizes like 256x256,512x512")
    return tuple(Size.parse(part.strip()) for part in parts)


def read_slo_table(raw: Any) -> dict[Size, float]:
    """Read `256x256=1.5,1024x1024=3`, or a table of that; seconds. Raises ValueError, InvalidRequestError."""
    pairs = dict(part.partition("=")[::2] for part in raw.split(",")) if isinstance(raw, str) else raw
    if not isinstance(pairs, dict) or not pairs:
        raise ValueError("must be deadlines by size, like 256x256=1.5,1024x1024=3 or a table of these")
    return {Size.parse(size.strip()): _seconds(slo_s) for size, slo_s in pairs.items()}


def _seconds(raw: Any) -> float:
    try:
        value = float(raw)
    except (TypeError, ValueError, OverflowError):
        value = 0.0
    if not 0 < value <= MAX_SLO_S:
        raise ValueError(f"seconds are {raw!r}, must be above 0 and at most {MAX_SLO_S:g}")
    return value


def _write_sizes(sizes: tuple[Size, ...]) -> list[str]:
    return [str(size) for size in sizes]


def _write_slo_table(table: Mapping[Size, float]) -> dict[str, float]:
    return {str(size): slo_s for size, slo_s in table.items()}


def _write_model_dir(path: Path) -> str | None:
    return None if path == EMBEDDED_MODEL_DIR else model_name(path)


def _read_model(raw: object) -> Path:
    try:
        return find_model(str(raw))
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """What is served, on what, and how it is scheduled."""

    model_dir: Path = setting(
        EMBEDDED_MODEL_DIR,
        "a directory in the diffusers layout, a model on the Hugging Face hub like black-forest-labs/FLUX.1-dev, or "
        "random:NAME for an architecture with random weights, like random:flux1-dev (default: the embedded model)",
        name="model",
        metavar="MODEL",
        read=_read_model,
        write=_write_model_dir,
    )
    revision: str | None = setting(None, "branch, tag or commit of a model on the hub (default: its main branch)")
    devices: str = setting("auto", "cpu:N or cuda or cuda:N; auto is all GPUs, else cpu:2", metavar="KIND[:N]")
    dtype: str = setting(
        "auto", "number format; auto is float32 on CPUs and bfloat16 on GPUs", choices=("auto", *DTYPES)
    )
    sizes: tuple[Size, ...] | None = setting(
        None,
        "sizes to measure; the largest is the limit (default: the model's own)",
        metavar="WxH,...",
        read=read_sizes,
        write=_write_sizes,
    )
    profile: Path | None = setting(
        None, "step times (default: the stored ones, or measured at start)", metavar="FILE", write=str
    )
    slo_table: Mapping[Size, float] = setting(
        PAPER_SLO_S,
        "deadlines in seconds of requests that name none, interpolated in between, and never less than 1.5 times "
        "the fastest possible",
        name="slo",
        metavar="WxH=S,...",
        read=read_slo_table,
        write=_write_slo_table,
    )
    policy: str = setting(
        "default",
        "default (ours), tetriserve (the paper's), edf, rssp, fixed-sp1, -sp2, -sp4, -sp8, others in "
        "docs/policies.md, or your own as package.module:factory",
        metavar="NAME",
    )
    loading: LoadingConfig = group(LoadingConfig, "loading")
    scheduler: SchedulerConfig = group(SchedulerConfig, "scheduling")

    def __post_init__(self) -> None:
        parse_devices(self.devices)

    def fetched(self) -> "ServingConfig":
        """The same with its model on this machine, downloaded if only the hub has it. Raises ConfigurationError."""
        with_transformer = self.loading.transformer is None
        return replace(self, model_dir=fetch_model(self.model_dir, self.revision, with_transformer=with_transformer))

    def sizes_for(self, card: ModelCard) -> tuple[Size, ...]:
        """The configured sizes, or the model's own, smallest first. Raises ConfigurationError for one it can't make."""
        try:
            sizes = [card.check_side(size) for size in self.sizes or card.sizes]
        except InvalidRequestError as error:
            raise ConfigurationError(f"sizes: {error}") from error
        return tuple(sorted(sizes, key=lambda size: (size.num_tokens, size)))
