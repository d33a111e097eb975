"""`POST /v1/images/generations`: what comes in and what goes out."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tetriserve.core.params import (
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    MAX_SLO_S,
    MAX_STEPS,
)
from tetriserve.core.partial import MAX_PARTIAL_IMAGES
from tetriserve.runtime.image_file import DEFAULT_QUALITY, FormatName

Quality = Literal["auto", "low", "medium", "high", "standard", "hd"]
Steps = Annotated[int | None, Field(ge=1, le=MAX_STEPS)]

EXAMPLES: list[JsonValue] = [
    {"prompt": "a red apple", "size": "256x256", "seed": 1, "slo_ms": 4000},
    {"prompt": "a blue fish", "size": "256x256", "quality": "low", "output_format": "webp", "response_format": "url"},
    {"prompt": "a green tree", "stream": True, "partial_images": 2, "service_class": "interactive"},
    {"prompt": "a yellow star", "background": True, "slo_ms": 600000, "service_class": "batch"},
]


class ImagesRequest(BaseModel):
    """Body of `POST /v1/images/generations`. Fields not named here are ignored, with a warning header."""

    model_config = ConfigDict(
        extra="allow", strict=True, json_schema_extra={"examples": EXAMPLES, "additionalProperties": True}
    )

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS, description="What to draw.")]
    model: Annotated[str | None, Field(description="A name from /v1/models; the served model when absent.")] = None
    n: Annotated[int | None, Field(ge=1, le=MAX_IMAGES, description="Images to make, with seeds seed, seed+1, ...")] = 1
    size: Annotated[str | None, Field(description="WIDTHxHEIGHT, multiples of 16, or auto.")] = "auto"
    quality: Annotated[
        Quality | None, Field(description="Steps: low half the model's own number, medium all of it, high twice.")
    ] = "auto"
    num_inference_steps: Annotated[Steps, Field(description="Denoising steps; goes before quality.")] = None
    min_num_inference_steps: Annotated[
        Steps, Field(description="With --admission degrade: fewer steps are welcome, down to this, to be on time.")
    ] = None
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED, description="Drawn at random when absent, and reported.")] = (
        None
    )
    guidance_scale: Annotated[
        float | None,
        Field(ge=0, le=MAX_GUIDANCE_SCALE, allow_inf_nan=False, description="How closely to follow the prompt."),
    ] = None
    negative_prompt: Annotated[
        str | None, Field(max_length=MAX_PROMPT_CHARS, description="What to avoid, where the model can.")
    ] = ""
    response_format: Annotated[
        Literal["b64_json", "url"] | None, Field(description="The file itself, or where it can be had for a while.")
    ] = "b64_json"
    output_format: Annotated[FormatName | None, Field(description="File format.")] = "png"
    output_compression: Annotated[
        int | None, Field(ge=0, le=100, description=f"Quality of jpeg and webp; {DEFAULT_QUALITY} when absent.")
    ] = None
    background: Annotated[
        bool | Literal["auto", "opaque", "transparent"] | None,
        Field(description="true: make a job and answer 202 at once. auto and opaque mean nothing here."),
    ] = None
    stream: Annotated[bool | None, Field(description="Answer with server-sent events.")] = False
    partial_images: Annotated[
        int | None, Field(ge=0, le=MAX_PARTIAL_IMAGES, description="Unfinished images to show, with stream.")
    ] = 0
    user: Annotated[str | None, Field(max_length=512, description="Taken, and used for nothing.")] = None
    slo_ms: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_SLO_S * 1e3,
            allow_inf_nan=False,
            description="Deadline in milliseconds after the body is read; goes before the header X-SLO-Ms.",
        ),
    ] = None
    service_class: Annotated[
        str | None, Field(description="interactive, standard or batch, if the server has no others: SLO and weight.")
    ] = None

    @property
    def ignored_fields(self) -> list[str]:
        """Names of the fields that mean nothing here."""
        return sorted(self.model_extra or {})


class ImageData(BaseModel):
    """One image of an answer: one of the two, as asked."""

    b64_json: str | None = None
    url: str | None = None


class ImageReport(BaseModel):
    """How one image was made."""

    seed: int
    latency_s: float
    queue_s: float
    gpu_seconds: float
    degrees: Annotated[list[int], Field(description="Degree of sequence parallelism of every step.")]


class ServingReport(BaseModel):
    """How the request as a whole was served. With n > 1 the deadline is met when the last image meets it."""

    request_id: str
    met_deadline: bool
    latency_s: Annotated[float, Field(description="Body read to last image encoded.")]
    slo_s: float
    service_class: str
    queue_s: Annotated[float, Field(description="Arrival to the first device starting on it; the longest of n.")]
    gpu_seconds: Annotated[float, Field(description="Seconds x devices, summed over stages and images.")]
    degrees: Annotated[list[int], Field(description="Degrees of every step, image after image.")]
    seed: int
    num_inference_steps: int
    requested_num_inference_steps: Annotated[
        int, Field(description="More than num_inference_steps if admission took steps away to be on time.")
    ]
    guidance_scale: float
    images: list[ImageReport]
    warnings: list[str]


class ImagesResponse(BaseModel):
    """Answer of `POST /v1/images/generations`."""

    created: int
    data: list[ImageData]
    size: str
    quality: str = "auto"
    background: Literal["opaque"] = "opaque"
    output_format: FormatName = "png"
    tetriserve: ServingReport
