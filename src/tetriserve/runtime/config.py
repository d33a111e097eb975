"""What an operator chooses before a service starts."""

from dataclasses import dataclass
from pathlib import Path

from tetriserve.core.errors import ConfigurationError, InvalidRequestError
from tetriserve.core.size import Size
from tetriserve.models.card import ModelCard

EMBEDDED_MODEL_DIR = Path(__file__).parent.parent / "embedded"
FLUX_SIZES = (Size(256, 256), Size(512, 512), Size(1024, 1024), Size(2048, 2048))


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """`sizes` are measured at start, the largest is the limit; None: the model decides. See `cli` for the rest."""

    model_dir: Path = EMBEDDED_MODEL_DIR
    devices: str = "auto"
    dtype: str = "auto"
    policy: str = "tetriserve"
    sizes: tuple[Size, ...] | None = None
    round_s: float | None = None
    profile: Path | None = None

    def sizes_for(self, card: ModelCard) -> tuple[Size, ...]:
        """The configured sizes, or the model's own, smallest first."""
        own = tuple(Size.parse(str(text)) for text in card.extra.get("sizes", ())) or FLUX_SIZES
        return tuple(sorted(self.sizes or own, key=lambda size: size.num_tokens))


def parse_sizes(text: str) -> tuple[Size, ...]:
    """Read `256x256,512x512`. Raises ConfigurationError."""
    try:
        return tuple(Size.parse(part.strip()) for part in text.split(","))
    except InvalidRequestError as error:
        raise ConfigurationError(f"--sizes: {error}") from error
