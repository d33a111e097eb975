"""Text encoders on the host, for good or between prompts: the same image, and no trace of them on the device."""

from pathlib import Path

import pytest
import torch

from models.test_flux import CPU, CUDA, latents, request
from parity.fixtures import GetCheckpoint
from tetriserve.models.adapter import ModelAdapter
from tetriserve.models.config import EncoderPlace, LoadingConfig
from tetriserve.models.loading import load_model


def load(directory: Path, place: EncoderPlace, device: torch.device = CPU) -> ModelAdapter:
    return load_model(directory, device, torch.float32, lambda text: None, LoadingConfig(encoders=place))


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["true_cfg", "sd3.5-large"])
def test_offloaded_encoders_visit_a_gpu_from_pinned_memory(kind: str, checkpoint: GetCheckpoint) -> None:
    """Prompt after prompt the same latents as with encoders that stay; between two they are on the host."""
    resident, offloaded = (load(checkpoint(kind), place, CUDA) for place in ("resident", "offload"))
    for asked in (request("48x32"), request("64x64", guidance=1.0)):
        assert (latents(offloaded, asked) - latents(resident, asked)).abs().max() < 1e-4
        tensors = [x for module in offloaded._encoders.modules for x in (*module.parameters(), *module.buffers())]
        assert all(x.is_pinned() for x in tensors if x.device == CPU)
        assert {x.device for x in tensors} == {CPU}
