"""What comes of measurements, without a GPU."""

from types import SimpleNamespace

import pytest

from tetriserve.core.size import Size
from tetriserve.stepbench.cells import Measured, StepCell, best_peer
from tetriserve.stepbench.floor import Ceilings, floor_ms
from tetriserve.stepbench.run import StepRun, plan

SMALL = StepCell(Size(256, 256), 1, 1)
PAIR = StepCell(Size(256, 256), 1, 2)
FLUX = SimpleNamespace(num_attention_heads=24, attention_head_dim=128, num_layers=19, num_single_layers=38)
RESULTS = (
    Measured("tetriserve", SMALL, (20.0, 19.0, 21.0)),
    Measured("tetriserve-fp8", SMALL, (10.0,)),
    Measured("diffusers", SMALL, (80.0, 90.0)),
    Measured("xdit", SMALL, (50.0,)),
    Measured("xdit-compiled", SMALL, failure="out of memory"),
)


def test_ours_is_compared_with_the_fastest_of_the_others_in_full_precision() -> None:
    peer = best_peer(RESULTS, SMALL)
    assert peer is not None
    assert peer.contender == "xdit"
    ours, *_, failed = StepRun("H100", "2", 8e14, 3e12, {SMALL: 10.0}, RESULTS).to_json()["cells"]
    assert (ours["median_ms"], ours["low_ms"], ours["high_ms"]) == (20.0, 19.0, 21.0)
    assert ours["to_best_peer"] == pytest.approx(0.4)
    assert ours["share_of_floor"] == pytest.approx(0.5)
    assert failed["median_ms"] is None
    assert failed["failure"] == "out of memory"


def test_every_contender_measures_where_it_can() -> None:
    runs = plan([SMALL, PAIR], ["tetriserve", "diffusers", "diffusers-parallel", "xdit"])
    assert [(name, cells[0].degree) for name, cells in runs] == [
        ("tetriserve", 1),
        ("diffusers", 1),
        ("xdit", 1),
        ("tetriserve", 2),
        ("diffusers-parallel", 2),
        ("xdit", 2),
    ]


def test_the_floor_is_arithmetic_for_large_images_and_memory_for_tiny_ones() -> None:
    """FLUX.1: 12.9 GFLOP a token through the blocks, 4·L²·3072·57 for attention, 17.2 GB of weights."""
    ceilings = Ceilings(flops=740e12, bytes_per_s=3e12)
    tokens = 4096 + 512
    arithmetic_ms = 1e3 * (12.9e9 * tokens + 4 * tokens**2 * 3072 * 57) / 740e12
    assert floor_ms(StepCell(Size(1024, 1024), 1, 1), FLUX, 512, ceilings) == pytest.approx(arithmetic_ms, rel=0.01)
    assert floor_ms(StepCell(Size(16, 16), 1, 8), FLUX, 512, ceilings) == pytest.approx(17.2e9 / 3e9, rel=0.01)
