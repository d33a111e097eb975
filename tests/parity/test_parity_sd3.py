"""As test_parity, for Stable Diffusion 3 and 3.5: an image doesn't depend on the devices that made it."""

from dataclasses import replace

import pytest

from parity.fixtures import GetEngine
from parity.reference import Reference, assert_same

one, two, four = (0,), (0, 1), (0, 1, 2, 3)

GUIDANCE = (1.0, 2.5)
"""Without and with a second pass."""


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("size", ["64x64", "208x144"])
@pytest.mark.parametrize("kind", ["sd3", "sd3.5-large"])
def test_two_workers_at_any_degree(
    kind: str, size: str, guidance: float, engine: GetEngine, reference: Reference
) -> None:
    engine_2 = engine(kind, 2)
    request = replace(engine_2.request(size, guidance=guidance), negative_prompt="ugly snow")
    image = engine_2.image(request, [(1,), two, one, two], encode_on=1)
    assert_same(image, reference.image(engine_2.model_dir, request))


@pytest.mark.parametrize("blocks", [[four], [(0, 1), (2,), four, (2, 3)]], ids=str)
@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("size", ["208x144", "16x48"])
def test_four_workers_at_any_degree(
    size: str, guidance: float, blocks: list[tuple[int, ...]], engine: GetEngine, reference: Reference
) -> None:
    """Two attentions in a block, three heads and 21 text tokens on four workers."""
    engine_4 = engine("sd3.5-medium", 4)
    request = engine_4.request(size, guidance=guidance)
    image = engine_4.image(request, blocks, encode_on=3, decode_on=2)
    assert_same(image, reference.image(engine_4.model_dir, request))


def test_guidance_and_negative_prompt_matter(engine: GetEngine, reference: Reference) -> None:
    """So the tests above would notice if they were lost."""
    engine_2 = engine("sd3.5-large", 2)
    images = set()
    for guidance, negative in ((1.0, "ugly"), (2.5, ""), (2.5, "ugly house")):
        request = replace(engine_2.request(guidance=guidance), negative_prompt=negative)
        image = engine_2.image(request, [two, one])
        assert_same(image, reference.image(engine_2.model_dir, request))
        images.add(image.rgb)
    assert len(images) == 3
