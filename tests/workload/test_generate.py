"""Workloads from a seed."""

import random
from collections import Counter
from itertools import islice, pairwise

import pytest

from tetriserve.core.errors import ConfigurationError
from tetriserve.core.size import Size
from tetriserve.cost.deadline import PAPER_SLO_S
from tetriserve.workload.arrivals import GAPS, arrival_times_s
from tetriserve.workload.generate import WorkloadConfig, generate
from tetriserve.workload.mixes import parse_mix
from tetriserve.workload.prompts import PROMPTS
from tetriserve.workload.trace import TraceEntry

SIZES = tuple(PAPER_SLO_S)


def make(**wishes: object) -> tuple[TraceEntry, ...]:
    config = WorkloadConfig(**{"mix": parse_mix("uniform", SIZES), **wishes})  # type: ignore[arg-type]
    return generate(config, PAPER_SLO_S.__getitem__)


def spread(times_s: list[float]) -> tuple[float, float]:
    """Mean and coefficient of variation of the gaps."""
    gaps = [later - earlier for earlier, later in pairwise([0.0, *times_s])]
    mean = sum(gaps) / len(gaps)
    return mean, (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean


@pytest.mark.parametrize(("process", "cv"), [("poisson", 1.0), ("bursty", 3.0), ("constant", 0.0)])
def test_arrivals_keep_their_rate_and_have_their_spread(process: str, cv: float) -> None:
    times_s = list(islice(arrival_times_s(process, 12, random.Random(1)), 20_000))
    assert times_s == sorted(times_s)
    assert spread(times_s) == (pytest.approx(5.0, rel=0.1), pytest.approx(cv, rel=0.1, abs=1e-6))


def test_every_process_is_covered() -> None:
    assert set(GAPS) == {"poisson", "bursty", "constant"}


def test_equal_seeds_give_equal_workloads() -> None:
    assert make(seed=3) == make(seed=3)
    assert make(seed=3) != make(seed=4)


def test_another_rate_leaves_sizes_and_prompts_as_they_are() -> None:
    slow, fast = make(rate_per_min=6), make(rate_per_min=12)
    assert [(e.size, e.prompt) for e in slow] == [(e.size, e.prompt) for e in fast]
    assert slow[-1].arrival_s == pytest.approx(2 * fast[-1].arrival_s)


def test_a_workload_looks_as_asked_for() -> None:
    entries = make(num_requests=120, num_inference_steps=20)
    assert [entry.request_id for entry in entries[:2]] == ["r000", "r001"]
    assert {entry.num_inference_steps for entry in entries} == {20}
    assert all(entry.slo_s == PAPER_SLO_S[entry.size] for entry in entries)
    assert {entry.prompt for entry in entries} <= set(PROMPTS)


def test_own_prompts_are_used() -> None:
    entries = generate(WorkloadConfig(parse_mix("homogeneous:256x256", SIZES), 5), lambda size: 1.0, ["a robot"])
    assert {(entry.prompt, entry.size) for entry in entries} == {("a robot", Size(256, 256))}


def test_the_papers_skewed_shares() -> None:
    mix = parse_mix("skewed", SIZES)
    total = sum(mix.values())
    assert [round(mix[size] / total, 3) for size in SIZES] == [0.167, 0.175, 0.211, 0.447]


def test_a_bare_number_is_a_square() -> None:
    assert parse_mix("homogeneous:1024", SIZES) == {Size(1024, 1024): 1.0}
    assert parse_mix("256=3,512x512=1", SIZES) == {Size(256, 256): 3.0, Size(512, 512): 1.0}


def test_weights_are_shares() -> None:
    counts = Counter(entry.size for entry in make(mix=parse_mix("256x256=3, 512x512=1", SIZES), num_requests=4000))
    assert counts[Size(256, 256)] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    "text",
    ["", "even", "homogeneous:", "homogeneous:250x250", "256x256=0", "256x256=nan", "256x256", "a=1", "256x256=1,"],
)
def test_an_unreadable_mix_is_named(text: str) -> None:
    with pytest.raises(ConfigurationError, match="mix"):
        parse_mix(text, SIZES)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"num_requests": 0}, "num_requests is 0"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0, must be 1 to 200"),
        ({"rate_per_min": 0.0}, "rate is 0.0"),
        ({"rate_per_min": float("nan")}, "rate is nan"),
        ({"arrivals": "weekly"}, "'weekly' are not known; there are poisson, bursty, constant"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make(**wrong)


def test_no_prompts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="prompt"):
        generate(WorkloadConfig(parse_mix("uniform", SIZES)), lambda size: 1.0, [])


def test_the_built_in_prompts_differ() -> None:
    assert len(set(PROMPTS)) == len(PROMPTS) >= 40
