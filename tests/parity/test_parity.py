"""The heart of the matter: an image doesn't depend on the devices that made it, and is the one diffusers makes."""

from dataclasses import replace

import pytest

from parity.fixtures import GetEngine
from parity.reference import Reference, assert_same

KINDS = ("true_cfg", "embedded", "none")
SIZES = ("64x64", "208x144", "16x48")

one, two, four = (0,), (0, 1), (0, 1, 2, 3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_worker_is_diffusers(kind: str, size: str, engine: GetEngine, reference: Reference) -> None:
    engine_1 = engine(kind, 1)
    request = engine_1.request(size)
    assert_same(engine_1.image(request, [one]), reference.image(engine_1.model_dir, request))


@pytest.mark.parametrize("blocks", [[two], [(1,), two, one, two], [two, (1,), (0,), two]], ids=str)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_at_any_degree(
    kind: str, size: str, blocks: list[tuple[int, ...]], engine: GetEngine, reference: Reference
) -> None:
    engine_2 = engine(kind, 2)
    request = engine_2.request(size)
    image = engine_2.image(request, blocks, encode_on=1, decode_on=0)
    assert_same(image, reference.image(engine_2.model_dir, request))


@pytest.mark.parametrize("blocks", [[four], [(0, 1), (2,), four, (2, 3)], [(3,), four, (0,), (2, 3)]], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_four_workers_at_any_degree(
    size: str, blocks: list[tuple[int, ...]], engine: GetEngine, reference: Reference
) -> None:
    """Three heads on four workers: one of them has none."""
    engine_4 = engine("true_cfg", 4)
    request = engine_4.request(size)
    image = engine_4.image(request, blocks, encode_on=3, decode_on=2)
    assert_same(image, reference.image(engine_4.model_dir, request))


def test_two_requests_interleaved(engine: GetEngine, reference: Reference) -> None:
    engine_4 = engine("true_cfg", 4)
    cat, dog = engine_4.request("208x144", seed=1), engine_4.request("64x64", seed=2, prompt="a green dog in the sea")
    plans = (
        engine_4.plan(cat, [(0, 1), (2, 3), four, (1,)], encode_on=0, decode_on=3),
        engine_4.plan(dog, [(2, 3), (0, 1), four, (2,)], encode_on=2, decode_on=3),
    )
    engine_4.run([work for pair in zip(*plans, strict=True) for work in pair])
    for request in (cat, dog):
        assert_same(engine_4.take(request), reference.image(engine_4.model_dir, request))


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_two_requests(kind: str, engine: GetEngine, reference: Reference) -> None:
    """Of different steps, seeds and prompts; with true CFG, one of them without guidance."""
    engine_2 = engine(kind, 2)
    a = engine_2.request("64x48", seed=1)
    b = engine_2.request("64x48", seed=2, guidance=1.0, prompt="snow on the house")
    for request, device in ((a, 0), (b, 1)):
        engine_2.run([engine_2.encode(request, device)])
    engine_2.run(
        [
            engine_2.denoise_batch([a, b], two, 0, 2),
            engine_2.denoise_batch([b, a], (1,), 2, 2),
            engine_2.decode(a, 0),
            engine_2.decode(b, 1),
        ]
    )
    for request in (a, b):
        assert_same(engine_2.take(request), reference.image(engine_2.model_dir, request))


def test_guidance_and_negative_prompt_matter(engine: GetEngine, reference: Reference) -> None:
    """So the tests above would notice if they were lost."""
    engine_2 = engine("true_cfg", 2)
    images = set()
    for guidance, negative in ((1.0, "ugly house"), (3.5, ""), (3.5, "ugly house"), (5.0, "")):
        request = replace(engine_2.request(guidance=guidance), negative_prompt=negative)
        image = engine_2.image(request, [two, one])
        assert_same(image, reference.image(engine_2.model_dir, request))
        images.add(image.rgb)
    assert len(images) == 4


@pytest.mark.parametrize("size", ["128x128", "112x144"])
def test_the_model_we_ship(size: str, engine: GetEngine, reference: Reference) -> None:
    engine_2 = engine("embedded-model", 2)
    request = engine_2.request(size, prompt="a red apple", steps=6)
    image = engine_2.image(request, [two, one, (1,), two, one], encode_on=1)
    assert_same(image, reference.image(engine_2.model_dir, request))
