"""Server-sent events of a streamed call. `image_generation.*` are OpenAI's; `tetriserve.progress` is ours."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tetriserve.runtime.image_file import FormatName
from tetriserve.server.wire.images import ServingReport


class ProgressEvent(BaseModel):
    """A step was taken. One for each step, in order; steps that are taken again after a fault are not told again."""

    type: Literal["tetriserve.progress"] = "tetriserve.progress"
    image_index: int
    request_id: Annotated[str, Field(description="Of this image alone: what the board calls it.")]
    num_steps_done: Annotated[int, Field(description="1, 2, 3, ... up to num_inference_steps.")]
    num_inference_steps: int


class ImageEvent(BaseModel):
    """What both events with an image have."""

    b64_json: str
    created_at: int
    size: str
    quality: str
    background: Literal["opaque"] = "opaque"
    output_format: FormatName
    image_index: int


class PartialImageEvent(ImageEvent):
    """An unfinished image, of the full size and with a pixel's worth of detail for every latent."""

    type: Literal["image_generation.partial_image"] = "image_generation.partial_image"
    partial_image_index: int


class CompletedEvent(ImageEvent):
    """The image. The last event of each of `n` images."""

    type: Literal["image_generation.completed"] = "image_generation.completed"
    tetriserve: ServingReport
