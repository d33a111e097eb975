"""Sprites in memory and the canvases composed of them.

Owns decoding, resizing and compositing, on the device of the tensors. Knows nothing of captions or models.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from colours import BACKGROUNDS, recolour
from pictures import Picture
from PIL import Image

NATIVE_PX = {"3d": 256, "color": 512, "flat": 512, "noto": 512}


def read_rows(data: Path, limit_per_style: int | None = None) -> list[dict]:
    """Rows of `captions.jsonl`, those of SVG styles first, so that each native size is one run of rows."""
    rows = [json.loads(line) for line in (data / "captions.jsonl").read_text().splitlines()]
    if limit_per_style is not None:
        by_style = {style: [r for r in rows if r["style"] == style][:limit_per_style] for style in NATIVE_PX}
        rows = [row for style_rows in by_style.values() for row in style_rows]
    return sorted(rows, key=lambda row: -NATIVE_PX[row["style"]])


def decode(path: Path, side_px: int) -> np.ndarray:
    """Return (side_px, side_px, 4) uint8; a picture that is not square is centred on a transparent square."""
    image = Image.open(path).convert("RGBA")
    if image.size == (side_px, side_px):
        return np.asarray(image)
    square = Image.new("RGBA", (side_px, side_px))
    image.thumbnail(square.size, Image.Resampling.BICUBIC)
    square.paste(image, ((side_px - image.width) // 2, (side_px - image.height) // 2))
    return np.asarray(square)


def fit(rgba: torch.Tensor, side_px: int) -> torch.Tensor:
    """Resize (B, 4, S, S) uint8 to (B, 4, side_px, side_px) float in 0..1, colours multiplied by alpha."""
    pixels = rgba.float() / 255
    pixels = torch.cat([pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]], dim=1)
    if side_px == rgba.shape[-1]:
        return pixels
    return F.interpolate(pixels, size=(side_px, side_px), mode="bicubic", antialias=True).clamp(0, 1)


def paste(canvas: torch.Tensor, sprite: torch.Tensor, top: int, left: int) -> None:
    """Lay premultiplied sprites (B, 4, S, S) over the canvas (B, 3, H, W), in place."""
    side = sprite.shape[-1]
    region = canvas[:, :, top : top + side, left : left + side]
    region.mul_(1 - sprite[:, 3:]).add_(sprite[:, :3])


def load_group(data: Path, rows: list[dict], side_px: int) -> torch.Tensor:
    """Decode the rows' images, all of one native size: (N, side_px, side_px, 4) uint8."""
    out = np.empty((len(rows), side_px, side_px, 4), dtype=np.uint8)

    def fill(index: int) -> None:
        out[index] = decode(data / rows[index]["file"], side_px)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(len(rows))))
    return torch.from_numpy(out)


class Sprites:
    """All sprites as uint8 on one device, addressed by their row's index."""

    def __init__(self, data: Path, rows: list[dict], device: str) -> None:
        self.rows, self.device = rows, device
        self.num_large = sum(NATIVE_PX[row["style"]] == 512 for row in rows)
        self.groups = [
            load_group(data, group, side_px).to(device).permute(0, 3, 1, 2).contiguous()
            for group, side_px in ((rows[: self.num_large], 512), (rows[self.num_large :], 256))
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, indices: torch.Tensor, side_px: int) -> torch.Tensor:
        """Return premultiplied sprites (B, 4, side_px, side_px) of the rows `indices`."""
        out = torch.empty(len(indices), 4, side_px, side_px, device=self.device)
        is_large = indices < self.num_large
        for mask, group, first in ((is_large, 0, 0), (~is_large, 1, self.num_large)):
            if mask.any():
                out[mask] = fit(self.groups[group][indices[mask] - first], side_px)
        return out

    def blank(self, count: int, height: int, width: int, colours: torch.Tensor | None = None) -> torch.Tensor:
        """Return (count, 3, height, width) in 0..1, white or filled with `colours` (count, 3)."""
        if colours is None:
            return torch.ones(count, 3, height, width, device=self.device)
        return colours.to(self.device)[:, :, None, None].expand(-1, -1, height, width).clone()

    def single(
        self, indices: torch.Tensor, height: int, width: int, colours: torch.Tensor | None = None
    ) -> torch.Tensor:
        """One sprite each, as large as fits, in the middle: (B, 3, height, width) in -1..1."""
        return self._centred(self.gather(indices, min(height, width)), height, width, colours)

    def draw(self, pictures: Sequence[Picture], height: int, width: int) -> torch.Tensor:
        """Draw pictures, each sprite as large as fits, in the middle: (B, 3, height, width) in -1..1."""
        colours = torch.tensor([BACKGROUNDS[p.background] if p.background else (255, 255, 255) for p in pictures])
        sprites = self.gather(torch.tensor([p.row for p in pictures], device=self.device), min(height, width))
        if changed := [place for place, p in enumerate(pictures) if p.colour]:
            hues = torch.tensor([self.rows[pictures[place].row]["hue"] for place in changed], device=self.device)
            sprites[changed] = recolour(sprites[changed], hues, [str(pictures[place].colour) for place in changed])
        return self._centred(sprites, height, width, colours / 255)

    def _centred(
        self, sprites: torch.Tensor, height: int, width: int, colours: torch.Tensor | None = None
    ) -> torch.Tensor:
        side = sprites.shape[-1]
        canvas = self.blank(len(sprites), height, width, colours)
        paste(canvas, sprites, (height - side) // 2, (width - side) // 2)
        return canvas * 2 - 1
