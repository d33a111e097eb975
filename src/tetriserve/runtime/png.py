"""Images as files. Called off the event loop."""

import base64
import io

import PIL.Image

from tetriserve.core.image import Image

COMPRESS_LEVEL = 1
"""zlib's fastest: five times faster than the default for a tenth more bytes."""


def encode_png(image: Image) -> bytes:
    """The PNG file of an image."""
    buffer = io.BytesIO()
    picture = PIL.Image.frombytes("RGB", (image.width, image.height), image.rgb)
    picture.save(buffer, "PNG", compress_level=COMPRESS_LEVEL)
    return buffer.getvalue()


def encode_base64_png(image: Image) -> str:
    """The PNG file of an image, in base64."""
    return base64.b64encode(encode_png(image)).decode("ascii")
