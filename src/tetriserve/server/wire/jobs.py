"""Background jobs: calls that are answered later."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tetriserve.server.wire.errors import ErrorBody

JobStatus = Literal["queued", "in_progress", "completed", "failed", "cancelled"]


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: str
    object: Literal["image.generation.job"] = "image.generation.job"
    status: JobStatus
    created_at: int
    finished_at: int | None = None
    num_steps_done: Annotated[int, Field(description="Summed over its images.")]
    num_steps: int
    slo_s: float
    result_url: Annotated[str | None, Field(description="Where the answer is, once completed.")] = None
    error: ErrorBody | None = None


class JobList(BaseModel):
    """The caller's jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobView]
