"""The JSON shapes of the API, and the way from them to requests and back.

The shapes are OpenAI's Images API; `seed`, `num_inference_steps`, `guidance_scale`, `negative_prompt` are the names
other image servers use; `slo_ms` and the answer's `tetriserve` object are ours.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tetriserve.core.params import (
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    MAX_SLO_S,
    MAX_STEPS,
)


class ImagesRequest(BaseModel):
    """Body of `POST /v1/images/generations`. Fields not named here are ignored, with a warning header."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "examples": [{"prompt": "a red apple", "size": "256x256", "seed": 1, "slo_ms": 4000}],
            "additionalProperties": True,
        },
    )

    prompt: Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS, description="What to draw.")]
    model: Annotated[str | None, Field(description="A name from /v1/models; the served model when absent.")] = None
    n: Annotated[int | None, Field(ge=1, le=MAX_IMAGES, description="Images to make, with seeds seed, seed+1, ...")] = 1
    size: Annotated[str | None, Field(description="WIDTHxHEIGHT, multiples of 16, or auto.")] = "auto"
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED, description="Drawn at random when absent, and reported.")] = (
        None
    )
    num_inference_steps: Annotated[int | None, Field(ge=1, le=MAX_STEPS, description="Denoising steps.")] = None
    guidance_scale: Annotated[
        float | None,
        Field(ge=0, le=MAX_GUIDANCE_SCALE, allow_inf_nan=False, description="How closely to follow the prompt."),
    ] = None
    negative_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS, description="What to avoid.")] = ""
    response_format: Annotated[Literal["b64_json"] | None, Field(description="Images come as base64 PNG.")] = "b64_json"
    slo_ms: Annotated[
        float | None,
        Field(
            gt=0,
            le=MAX_SLO_S * 1e3,
            allow_inf_nan=False,
            description="Deadline in milliseconds after the body is read.",
        ),
    ] = None

    @property
    def ignored_fields(self) -> list[str]:
        """Names of the fields that mean nothing here."""
        return sorted(self.model_extra or {})


class ImageData(BaseModel):
    """One image of an answer."""

    b64_json: str


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
    queue_s: Annotated[float, Field(description="Arrival to the first device starting on it; the longest of n.")]
    gpu_seconds: Annotated[float, Field(description="Seconds x devices, summed over stages and images.")]
    degrees: Annotated[list[int], Field(description="Degrees of every step, image after image.")]
    seed: int
    num_inference_steps: int
    guidance_scale: float
    images: list[ImageReport]
    warnings: list[str]


class ImagesResponse(BaseModel):
    """Answer of `POST /v1/images/generations`."""

    created: int
    data: list[ImageData]
    size: str
    output_format: str = "png"
    tetriserve: ServingReport


class ModelCard(BaseModel):
    """One entry of `/v1/models`."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "tetriserve"


class ModelList(BaseModel):
    """Answer of `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """Answer of `/health`."""

    status: Literal["ok", "failed"]
    model: str
    policy: str
    num_devices: int
    num_in_flight: int
    detail: str | None = None


class ErrorBody(BaseModel):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorResponse(BaseModel):
    """Every answer that is not 2xx."""

    error: ErrorBody
