"""What is served, and whether."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tetriserve.models.card import Guidance


class SizeOffer(BaseModel):
    """One of the sizes that were measured at start, at the model's own number of steps."""

    size: str
    default_slo_s: Annotated[float, Field(description="The deadline of a request that names none.")]
    fastest_s: Annotated[float, Field(description="The fastest possible time, alone on all devices.")]


class ModelOffer(BaseModel):
    """What the model can do, and what it does when not told."""

    sizes: list[SizeOffer]
    default_size: str
    default_num_inference_steps: int
    default_guidance_scale: float
    guidance: Annotated[Guidance, Field(description="true_cfg has negative prompts, none has no guidance_scale.")]
    service_classes: list[str]


class ModelCard(BaseModel):
    """One entry of `/v1/models`: OpenAI's four fields, and what a form needs to know."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "tetriserve"
    tetriserve: ModelOffer


class ModelList(BaseModel):
    """Answer of `/v1/models`."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Health(BaseModel):
    """Answer of `/health`."""

    status: Literal["ok", "draining", "failed"]
    model: str
    policy: str
    num_devices: int
    num_in_flight: int
    lost_devices: tuple[int, ...] = Field((), description="being replaced; others do their work meanwhile")
    slow_devices: dict[int, float] = Field({}, description="so many times slower than their profile, and planned so")
    detail: str | None = None
