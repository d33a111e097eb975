"""Which pictures are trained: every sprite as it is, on a coloured background, and in colours it doesn't have.

Owns how many of each. Knows nothing of captions or models.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from colours import BACKGROUNDS, others

RECOLOURED = 4  # a sprite that has one main hue
SHARE_ON_BACKGROUND = 0.2  # of those


@dataclass(frozen=True)
class Picture:
    """A row's sprite: in its own colours and on white, unless said otherwise (names in `colours.py`)."""

    row: int
    colour: str | None = None
    background: str | None = None


def plain_pictures(rows: Sequence[dict]) -> list[Picture]:
    """Every sprite as it is."""
    return [Picture(index) for index in range(len(rows))]


def varied_pictures(rows: Sequence[dict], seed: int) -> list[Picture]:
    """Every sprite on one background, and those with a main hue in other colours."""
    rng, backgrounds, pictures = random.Random(seed), list(BACKGROUNDS), []
    for index, row in enumerate(rows):
        pictures.append(Picture(index, background=rng.choice(backgrounds)))
        if row["hue"] is not None:
            for colour in rng.sample(others(row["hue"]), RECOLOURED):
                on = rng.choice(backgrounds) if rng.random() < SHARE_ON_BACKGROUND else None
                pictures.append(Picture(index, colour, on))
    return pictures
