"""8-bit matrix products through the whole engine, on CPUs: another image, but nearly the same one."""

import numpy as np
import pytest

from parity.harness import Engine
from parity.reference import pixels
from tetriserve.runtime.config import EMBEDDED_MODEL_DIR


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, in dB."""
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


@pytest.mark.timeout(120)
def test_an_8_bit_image_resembles_the_exact_one() -> None:
    images = []
    for dtype in ("float32", "fp8"):
        engine = Engine(EMBEDDED_MODEL_DIR, "cpu:1", dtype)
        with engine.executor:
            images.append(pixels(engine.image(engine.request("64x64", steps=2), [(0,)])))
    exact, rough = images
    assert not np.array_equal(exact, rough)
    assert psnr(exact, rough) > 20
