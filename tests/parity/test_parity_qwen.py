"""As test_parity, for Qwen-Image, whose prompts have as many tokens as they have words."""

from dataclasses import replace

import pytest

from parity.fixtures import GetEngine
from parity.reference import Reference, assert_same

one, two, four = (0,), (0, 1), (0, 1, 2, 3)

GUIDANCE = (1.0, 4.0)
"""Without and with a second pass."""


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("size", ["64x64", "112x80"])
def test_two_workers_at_any_degree(size: str, guidance: float, engine: GetEngine, reference: Reference) -> None:
    engine_2 = engine("qwen-image", 2)
    request = replace(engine_2.request(size, guidance=guidance), negative_prompt="ugly")
    image = engine_2.image(request, [(1,), two, one, two], encode_on=1)
    assert_same(image, reference.image(engine_2.model_dir, request))


@pytest.mark.parametrize("guidance", GUIDANCE)
def test_four_workers_at_any_degree(guidance: float, engine: GetEngine, reference: Reference) -> None:
    """Three heads, 35 image tokens and 37 text tokens, most of them none, on four workers."""
    engine_4 = engine("qwen-image", 4)
    request = engine_4.request("112x80", guidance=guidance, prompt="a green dog in the sea on the snow")
    image = engine_4.image(request, [four, (0, 1), (2,), four], encode_on=3, decode_on=2)
    assert_same(image, reference.image(engine_4.model_dir, request))


def test_a_batch_of_prompts_of_different_lengths(engine: GetEngine, reference: Reference) -> None:
    """One of them without guidance."""
    engine_2 = engine("qwen-image", 2)
    a = engine_2.request("64x48", seed=1)
    b = engine_2.request("64x48", seed=2, guidance=1.0, prompt="snow on the house in the sea")
    works = [engine_2.encode(a, 0), engine_2.encode(b, 1)]
    works += [engine_2.denoise_batch([a, b], two, 0, 2), engine_2.denoise_batch([b, a], (1,), 2, 2)]
    engine_2.run([*works, engine_2.decode(a, 0), engine_2.decode(b, 1)])
    for request in (a, b):
        assert_same(engine_2.take(request), reference.image(engine_2.model_dir, request))


def test_guidance_prompt_and_negative_prompt_matter(engine: GetEngine, reference: Reference) -> None:
    """So the tests above would notice if they were lost."""
    engine_2 = engine("qwen-image", 2)
    images = set()
    for guidance, negative, prompt in ((1.0, "ugly", "cat"), (4.0, "", "cat"), (4.0, "ugly", "cat"), (4.0, "", "dog")):
        request = replace(engine_2.request(guidance=guidance, prompt=prompt), negative_prompt=negative)
        image = engine_2.image(request, [two, one])
        assert_same(image, reference.image(engine_2.model_dir, request))
        images.add(image.rgb)
    assert len(images) == 4
