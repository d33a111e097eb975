"""A prompt that was encoded of late is not encoded again, and nobody can tell by the image."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from models.test_flux import CPU, CUDA, latents, request
from parity.fixtures import GetCheckpoint
from tetriserve.core.errors import ConfigurationError
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.config import LoadingConfig
from tetriserve.models.loading import load_model
from tetriserve.models.prompt_cache import PromptCache

DEVICES = [CPU, CUDA] if torch.cuda.is_available() else [CPU]


def encoded(num_bytes: int) -> tuple[torch.Tensor, ...]:
    return torch.zeros(1, num_bytes - 1, dtype=torch.uint8), torch.zeros(1, 1, dtype=torch.uint8)


def known(cache: PromptCache, prompts: str) -> str:
    return "".join(prompt for prompt in prompts if cache.find(prompt) is not None)


def test_who_was_not_asked_for_the_longest_goes_first() -> None:
    cache = PromptCache(100)
    for prompt in "abc":
        cache.keep(prompt, encoded(40 if prompt != "c" else 60))
    assert known(cache, "abc") == "bc"
    cache.find("b")
    cache.keep("d", encoded(60))
    assert known(cache, "bcd") == "bd"


def test_what_is_larger_than_all_room_is_not_kept_and_leaves_room_for_others() -> None:
    cache = PromptCache(100)
    cache.keep("a", encoded(101))
    cache.keep("b", encoded(100))
    assert known(cache, "ab") == "b"


def load(checkpoint: GetCheckpoint, kind: str, prompt_cache_mib: int = 1, device: torch.device = CPU) -> ModelAdapter:
    loading = LoadingConfig(prompt_cache_mib=prompt_cache_mib)
    return load_model(checkpoint(kind), device, torch.float32, lambda text: None, loading)


def prompts_read(model: ModelAdapter, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with what reaches the text encoders."""
    found: list[str] = []
    encode = model._pipe.encode_prompt

    def watched(prompt: str, *args: object, **options: object) -> object:
        found.append(prompt)
        return encode(prompt, *args, **options)

    monkeypatch.setattr(model._pipe, "encode_prompt", watched)
    return found


@pytest.mark.parametrize(
    ("prompt_cache_mib", "expected"),
    [(1, ["a blue house", "", "a cat"]), (0, ["a blue house", "", "a blue house", "", "a cat", "", "a cat"])],
)
def test_text_encoders_read_a_prompt_once(
    prompt_cache_mib: int, expected: Sequence[str], checkpoint: GetCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(checkpoint, "true_cfg", prompt_cache_mib)
    found = prompts_read(model, monkeypatch)
    cat, unguided = (replace(request(guidance=scale), prompt="a cat") for scale in (3.5, 1.0))
    for asked in (request(), request("64x64"), cat, unguided):
        model.encode(asked)
    assert found == expected


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", ["true_cfg", "sd3.5-large", "qwen-image"])
def test_images_are_the_same(kind: str, device: torch.device, checkpoint: GetCheckpoint) -> None:
    """Also when steps have been taken meanwhile with what is kept, and other prompts have been encoded."""
    asked = request("48x32")
    others = (
        replace(asked, seed=9),
        replace(asked, prompt="a red cat"),
        replace(asked, negative_prompt="a blue house"),
    )
    fresh = [latents(load(checkpoint, kind, 0, device), one) for one in (asked, *others)]
    model = load(checkpoint, kind, device=device)
    for one, expected in zip((asked, *others, asked), (*fresh, fresh[0]), strict=True):
        assert torch.equal(latents(model, one), expected)


def test_what_the_encoders_did_not_read_is_told_every_time(checkpoint: GetCheckpoint) -> None:
    model = load(checkpoint, "true_cfg")
    asked = replace(request(), prompt="a blue house " * 200)
    first, second = (model.encode(asked).warnings for _ in range(2))
    assert first == second != ()


def test_room_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="prompt_cache_mib is -1, must be from 0 to 1048576"):
        LoadingConfig(prompt_cache_mib=-1)
