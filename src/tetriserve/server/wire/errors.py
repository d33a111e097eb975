"""The shape of every answer that is not 2xx."""

from typing import Annotated

from pydantic import BaseModel, Field


class ErrorBody(BaseModel):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    predicted_latency_ms: Annotated[
        float | None, Field(description="When the image was predicted to be there, with code deadline_unmeetable.")
    ] = None


class ErrorResponse(BaseModel):
    """Every answer that is not 2xx."""

    error: ErrorBody
