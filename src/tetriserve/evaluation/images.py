"""How different two images are."""

import io
import math
from typing import Any

import numpy as np
import PIL.Image

LEVELS = 255


def difference(png: bytes, other: bytes) -> dict[str, Any]:
    """Mean squared and greatest difference of two images of one size, in levels of 255."""
    first, second = (np.asarray(PIL.Image.open(io.BytesIO(file)).convert("RGB"), np.int16) for file in (png, other))
    apart = np.abs(first - second)
    return {"mse": round(float(np.square(apart, dtype=np.int64).mean()), 4), "max": int(apart.max())}


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio; infinite for equal images."""
    return math.inf if mse == 0 else 10 * math.log10(LEVELS**2 / mse)
