"""What an operator chooses before a service starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.params import MAX_SLO_S
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.models.card import ModelCard

EMBEDDED_MODEL_DIR = Path(__file__).parent.parent / "embedded"


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """`sizes` are measured at start, the largest is the limit; None: the model decides. See `cli` for the rest."""

    model_dir: Path = EMBEDDED_MODEL_DIR
    devices: str = "auto"
    dtype: str = "auto"
    policy: str = "default"
    sizes: tuple[Size, ...] | None = None
    round_s: float | None = None
    profile: Path | None = None
    slo_table: Mapping[Size, float] = field(default_factory=lambda: PAPER_SLO_S)

    def sizes_for(self, card: ModelCard) -> tuple[Size, ...]:
        """The configured sizes, or the model's own, smallest first. Raises ConfigurationError for one it can't make."""
        try:
            sizes = [card.check_side(size) for size in self.sizes or card.sizes]
        except InvalidRequestError as error:
            raise ConfigurationError(f"--sizes: {error}") from error
        return tuple(sorted(sizes, key=lambda size: (size.num_tokens, size)))


def parse_sizes(text: str) -> tuple[Size, ...]:
    """Read `256x256,512x512`. Raises ConfigurationError."""
    try:
        return tuple(Size.parse(part.strip()) for part in text.split(","))
    except InvalidRequestError as error:
        raise ConfigurationError(f"--sizes: {error}") from error


def parse_slo_table(text: str) -> dict[Size, float]:
    """Read `256x256=1.5,1024x1024=3`, in seconds. Raises ConfigurationError."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        table = {Size.parse(size.strip()): float(slo_s) for size, slo_s in pairs}
    except (InvalidRequestError, ValueError) as error:
        raise ConfigurationError(f"--slo {text!r}: expected WxH=SECONDS,...: {error}") from error
    if not all(0 < slo_s <= MAX_SLO_S for slo_s in table.values()):
        raise ConfigurationError(f"--slo {text!r}: seconds must be above 0 and at most {MAX_SLO_S:g}")
    return table
