"""Many images on one page, with a line of text under each."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL_PX = 256
TEXT_PX = 34
NUM_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A PNG file, a caption of up to two lines, and whether to mark it as late."""

    png: bytes
    caption: str
    late: bool = False


def write_contact_sheet(path: Path, exhibits: Sequence[Exhibit]) -> None:
    """Write a PNG with four images a row, each scaled to fit 256 pixels."""
    num_rows = math.ceil(len(exhibits) / NUM_COLUMNS)
    cell_height = CELL_PX + TEXT_PX
    sheet = Image.new("RGB", (NUM_COLUMNS * CELL_PX, num_rows * cell_height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    for index, exhibit in enumerate(exhibits):
        left, top = index % NUM_COLUMNS * CELL_PX, index // NUM_COLUMNS * cell_height
        picture = Image.open(io.BytesIO(exhibit.png))
        picture.thumbnail((CELL_PX, CELL_PX))
        sheet.paste(picture, (left + (CELL_PX - picture.width) // 2, top + (CELL_PX - picture.height) // 2))
        colour = "firebrick" if exhibit.late else "black"
        draw.multiline_text((left + 6, top + CELL_PX + 2), exhibit.caption, fill=colour, font=font, spacing=1)
    sheet.save(path)
