import io
from pathlib import Path

from PIL import Image

from tetriserve.bench.contact_sheet import Exhibit, write_contact_sheet


def png(colour: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_image_is_on_the_sheet(tmp_path: Path) -> None:
    exhibits = [Exhibit(png("red", (512, 256)), "wide\nlate", late=True), Exhibit(png("blue", (16, 16)), "small")] * 3
    write_contact_sheet(tmp_path / "sheet.png", exhibits)
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = [colour for _, colour in sheet.convert("RGB").getcolors(1 << 24) or []]
    assert {(255, 0, 0), (0, 0, 255)} <= set(colours)
