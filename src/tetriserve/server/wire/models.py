"""What is served, and whether."""

from typing import Literal

from pydantic import BaseModel


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
