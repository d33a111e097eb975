"""Text encoders on the host, for good or between prompts: the same image, and no trace of them on the device."""

from pathlib import Path

import pytest
import torch

from models.test_flux import CPU, latents, request
from parity.fixtures import GetCheckpoint
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.config import EncoderPlace, LoadingConfig
from tetriserve.models.loading import load_model


def load(directory: Path, place: EncoderPlace) -> ModelAdapter:
    return load_model(directory, CPU, torch.float32, lambda text: None, LoadingConfig(encoders=place))


@pytest.mark.parametrize(
    ("kind", "places"), [("true_cfg", ("resident", "offload", "cpu")), ("sd3.5-large", ("resident", "offload"))]
)
def test_latents_do_not_depend_on_the_place(
    kind: str, places: tuple[EncoderPlace, ...], checkpoint: GetCheckpoint
) -> None:
    resident, *others = (latents(load(checkpoint(kind), place), request("48x32")) for place in places)
    assert all(torch.equal(other, resident) for other in others)


def test_offloaded_encoders_work_in_other_memory_and_keep_what_they_share(checkpoint: GetCheckpoint) -> None:
    model = load(checkpoint("true_cfg"), "offload")
    t5 = model._pipe.text_encoder_2
    encoders = model._encoders

    def places() -> list[int]:
        return [x.data_ptr() for module in encoders.modules for x in (*module.parameters(), *module.buffers())]

    at_home = places()
    with pytest.raises(RuntimeError, match="encoding failed"), torch.inference_mode(), encoders.at_work() as device:
        assert device == CPU
        assert not set(places()) & set(at_home)
        assert t5.shared.weight is t5.encoder.embed_tokens.weight
        raise RuntimeError("encoding failed")
    assert places() == at_home
