"""Whether an image is the one that the same request gives when nothing goes wrong."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_DIFFERENCE = 1
"""In values of 0 to 255: the number of devices decides on the last bit of a float, and that on a rounding."""
PROMPTS = ("a red apple", "a green tree", "a yellow sun", "a blue car", "a cat", "a house", "a rocket", "a fish")
PATH = "/v1/images/generations"


@dataclass(frozen=True, slots=True)
class Picture:
    """A request that always gives the same image, and that image."""

    body: dict[str, Any]
    pixels: NDArray[np.uint8]

    def difference(self, png: bytes) -> int:
        """The largest of any value; 255 if it is not even of that size."""
        pixels = pixels_of(png)
        if pixels.shape != self.pixels.shape:
            return 255
        return int(np.abs(pixels.astype(int) - self.pixels.astype(int)).max())


def pixels_of(png: bytes) -> NDArray[np.uint8]:
    """(height, width, 3)."""
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


async def undisturbed(url: str) -> tuple[Picture, ...]:
    """One image after another of a server that is left alone; they take 2 to 9 steps."""
    pictures = []
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        for number, prompt in enumerate(PROMPTS):
            body = {"prompt": prompt, "size": "128x128", "seed": number, "num_inference_steps": 2 + number}
            answer = (await client.post(PATH, json=body)).raise_for_status().json()
            pictures.append(Picture(body, pixels_of(base64.b64decode(answer["data"][0]["b64_json"]))))
    return tuple(pictures)
