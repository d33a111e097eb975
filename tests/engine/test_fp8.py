"""8-bit matrix products through the whole engine, on CPUs: another image, but nearly the same one."""

import numpy as np

from parity.fixtures import EMBEDDED, GetEngine
from parity.harness import Engine
from parity.reference import pixels


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal to noise, in dB."""
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def test_an_8_bit_image_resembles_the_exact_one(engine: GetEngine) -> None:
    in_8_bits = Engine(EMBEDDED, "cpu:1", "fp8")
    with in_8_bits.executor:
        rough = pixels(in_8_bits.image(in_8_bits.request("64x64", steps=2), [(0,)]))
    exactly = engine("embedded-model", 2)
    exact = pixels(exactly.image(exactly.request("64x64", steps=2), [(0,)]))
    assert not np.array_equal(exact, rough)
    assert psnr(exact, rough) > 20
