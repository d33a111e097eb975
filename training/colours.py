"""Colours: what they are called, which one a sprite has, and how it takes another.

Owns the palette and the change of hue. A picture is recoloured where its own main hue is: the windows of a red
car stay as they are when the car becomes blue. Knows nothing of captions' grammar.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Colour:
    """What makes a sprite be of this colour: a hue (turns), and what becomes of saturation and value (0..1)."""

    hue: float
    saturation: float = 1.0  # times the old
    lift: float = 0.0  # added to the value
    value: float = 1.0  # times the old


COLOURS = {
    "red": Colour(0.0),
    "orange": Colour(0.075),
    "yellow": Colour(0.145, lift=0.1, value=0.9),
    "green": Colour(0.345, value=0.9),
    "blue": Colour(0.6),
    "purple": Colour(0.76),
    "pink": Colour(0.92, saturation=0.6, lift=0.15, value=0.85),
    "brown": Colour(0.06, saturation=0.9, value=0.6),
    "black": Colour(0.0, saturation=0.05, value=0.3),
    "white": Colour(0.0, saturation=0.05, lift=0.6, value=0.4),
}
BACKGROUNDS = {
    "red": (222, 68, 60),
    "orange": (247, 152, 62),
    "yellow": (250, 214, 84),
    "green": (96, 184, 104),
    "blue": (88, 148, 236),
    "purple": (150, 106, 214),
    "pink": (246, 160, 196),
    "gray": (160, 164, 172),
    "black": (24, 24, 28),
}
NAMED_BY_HUE = ("red", "yellow", "green", "blue", "purple")  # the rest also depend on how bright they are
NEAR, FAR = 0.03, 0.1  # turns: hues no further apart have one name; those that are further have not
REACH, SOFT = 0.15, 0.04  # turns around the main hue that change, and the width of the edge
MIN_CONCENTRATION, MIN_CHROMA = 0.8, 0.25


def main_hue(sprite: Image.Image) -> float | None:
    """The hue (turns) that most of an RGBA sprite has, or None if it has several, or hardly any."""
    sprite.thumbnail((64, 64))
    alpha = np.asarray(sprite.getchannel("A"), dtype=np.float64) / 255
    hsv = np.asarray(sprite.convert("RGB").convert("HSV"), dtype=np.float64) / 255
    chroma = hsv[..., 1] * hsv[..., 2] * alpha
    total = (chroma * np.exp(2j * np.pi * hsv[..., 0])).sum()
    is_coloured = chroma.sum() > MIN_CHROMA * alpha.sum() and abs(total) > MIN_CONCENTRATION * chroma.sum()
    return round(float(np.angle(total)) / (2 * np.pi) % 1.0, 3) if is_coloured else None


def distance(a: float, b: float) -> float:
    """Between two hues, in turns."""
    return abs((a - b + 0.5) % 1.0 - 0.5)


def name_of(hue: float) -> str | None:
    """What a hue is called, if it is near one that has a name."""
    return next((name for name in NAMED_BY_HUE if distance(COLOURS[name].hue, hue) < NEAR), None)


def others(hue: float) -> list[str]:
    """Colours that a sprite of this hue does not have."""
    return [name for name, colour in COLOURS.items() if colour.saturation < 0.5 or distance(colour.hue, hue) > FAR]


def to_hsv(rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue (turns), saturation and value, each (B, 1, H, W), of (B, 3, H, W) in 0..1."""
    value, low = rgb.amax(1, keepdim=True), rgb.amin(1, keepdim=True)
    chroma = value - low
    r, g, b = rgb.split(1, dim=1)
    safe = chroma.clamp_min(1e-6)
    hue = torch.where(value == r, (g - b) / safe, torch.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    return (hue / 6) % 1.0, chroma / value.clamp_min(1e-6), value


def to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """The inverse of `to_hsv`: (B, 3, H, W)."""
    offsets = torch.tensor([5.0, 3.0, 1.0], device=hue.device)[:, None, None]
    k = (offsets + hue * 6) % 6
    return value * (1 - saturation * torch.minimum(k, 4 - k).clamp(0, 1))


def recolour(sprites: Tensor, hues: Tensor, names: Sequence[str]) -> Tensor:
    """Give premultiplied sprites (B, 4, H, W), whose main hues (B,) are known, the colours of these names."""
    chosen = [COLOURS[name] for name in names]
    table = torch.tensor([(c.hue, c.saturation, c.lift, c.value) for c in chosen], device=sprites.device)
    new_hue, saturation_factor, lift, value_factor = table.T[:, :, None, None, None]
    rgb, alpha = sprites[:, :3], sprites[:, 3:]
    hue, saturation, value = to_hsv(rgb)
    offset = (hue - hues[:, None, None, None] + 0.5) % 1.0 - 0.5
    share = ((REACH - offset.abs()) / SOFT).clamp(0, 1) * ((saturation - 0.1) / 0.1).clamp(0, 1)
    recoloured = to_rgb(
        (new_hue + offset / 2) % 1.0,
        (saturation * saturation_factor).clamp(0, 1),
        (lift * alpha + value * value_factor).clamp(0, 1),
    )
    return torch.cat([torch.lerp(rgb, recoloured, share), alpha], dim=1)
