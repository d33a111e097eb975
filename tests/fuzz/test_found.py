"""What fuzzing has found: every input that was neither taken nor refused in words once."""

from pathlib import Path
from typing import Any

import pytest

from fuzz.target import Target
from fuzz.targets import TARGETS
from tetriserve.core.errors import ConfigurationError

BY_NAME = {target.name: target for target in TARGETS}
HUGE = 10**400
"""A whole number that no float can hold."""
FOUND: tuple[tuple[str, dict[str, Any]], ...] = (
    ("trace", {"slo_s": HUGE}),
    ("trace", {"arrival_s": HUGE}),
    ("model's tetriserve.json", {"default_guidance_scale": HUGE}),
    ("model's scheduler/scheduler_config.json", {"num_train_timesteps": 2**31}),
    ("model's model_index.json", {"9" * 5000: ["transformers", "T5EncoderModel"]}),
    ("model's model_index.json", {"../vae": ["diffusers", "AutoencoderKL"]}),
    ("loaded model's vae/config.json", {"layers_per_block": HUGE}),
    ("loaded model's vae/config.json", {"layers_per_block": 0}),
    ("loaded model's transformer/config.json", {"joint_attention_dim": "64"}),
    ("loaded model's transformer/config.json", {"num_layers": None}),
    ("loaded model's text_encoder/config.json", {"hidden_size": 3}),
    ("loaded model's text_encoder/config.json", {"hidden_act": ["quick_gelu"]}),
    ("loaded model's text_encoder_2/config.json", {"d_kv": None}),
    ("random model's transformer/config.json", {"num_layers": 10**9}),
    ("random model's text_encoder/config.json", {"num_hidden_layers": 585}),
    ("loaded model's text_encoder/config.json", {"num_hidden_layers": 585}),
)


@pytest.mark.parametrize(
    ("name", "values"), FOUND, ids=lambda part: part if isinstance(part, str) else next(iter(part))[:30]
)
def test_what_was_found_once_is_refused_in_words(name: str, values: dict[str, Any], tmp_path: Path) -> None:
    target = BY_NAME[name]
    refused(target, target.write(changed(target.documents[0], values)), tmp_path)


def test_a_job_in_the_journal_with_a_number_that_no_float_can_hold(tmp_path: Path) -> None:
    target = BY_NAME["job journal"]
    record = target.documents[0]
    params = record["call"]["params"] | {"num_inference_steps": HUGE}
    data = target.write(record | {"call": record["call"] | {"params": params}})
    target.check(data, tmp_path)
    with pytest.raises(ValueError, match="too large"):
        target.read(data, tmp_path)


@pytest.mark.parametrize("number", [str(HUGE), "9" * 5000, "0x" + "f" * 5000], ids=["no float", "too long", "hex"])
@pytest.mark.parametrize("line", ['slo = { "256x256" = %s }', "sizes = [%s]", "port = %s", "[default]\nchunk_s = %s"])
def test_a_number_that_python_cannot_show_or_make_a_float(line: str, number: str, tmp_path: Path) -> None:
    refused(BY_NAME["configuration file"], (line % number).encode(), tmp_path)


def test_what_argparse_says_of_something_long_is_a_line_that_ends(tmp_path: Path) -> None:
    BY_NAME["command line"].check(b"serve\0--" + b"x" * 5000, tmp_path)


def changed(document: Any, values: dict[str, Any]) -> Any:
    """With other values; of lines, the first."""
    return document | values if isinstance(document, dict) else [document[0] | values, *document[1:]]


def refused(target: Target, data: bytes, folder: Path) -> None:
    target.check(data, folder)
    with pytest.raises(ConfigurationError):
        target.read(data, folder)
