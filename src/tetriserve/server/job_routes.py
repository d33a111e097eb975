"""`/v1/images/jobs`: what became of calls with `background`; `/v1/images/files`: the files behind result URLs."""

import base64
import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from tetriserve.core.errors import InvalidRequestError
from tetriserve.server.context import FILES_PATH, JOBS_PATH, Context, caller_of
from tetriserve.server.errors import failures
from tetriserve.server.job_record import JobRecord
from tetriserve.server.wire.images import ImageData, ImagesResponse
from tetriserve.server.wire.jobs import JobList, JobView

JobId = Annotated[str, Path(max_length=64)]
BINARY = {"schema": {"type": "string", "format": "binary"}}
FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {f"image/{name}": BINARY for name in ("png", "jpeg", "webp")},
    },
    **failures(400, 404),
}


def job_routes(context: Context) -> APIRouter:
    """The routes of jobs and files."""
    router = APIRouter(tags=["jobs"])

    def find(request: Request, job_id: str) -> JobRecord:
        record = context.jobs.get(job_id, caller_of(request))
        if record is None:
            raise InvalidRequestError(f"there is no job {job_id[:64]!r} (any more)", "job_id", "job_not_found")
        return record

    @router.get(JOBS_PATH, responses=failures(400, 401), response_model_exclude_none=True)
    async def jobs(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> JobList:
        """The caller's jobs, newest first."""
        return JobList(data=[job_view(record) for record in context.jobs.of(caller_of(request))[:limit]])

    @router.get(JOBS_PATH + "/{job_id}", responses=failures(400, 401, 404), response_model_exclude_none=True)
    async def job(request: Request, job_id: JobId) -> JobView:
        """How far a job is."""
        return job_view(find(request, job_id))

    @router.delete(
        JOBS_PATH + "/{job_id}", responses=failures(400, 401, 404, 503, 507), response_model_exclude_none=True
    )
    async def cancel(request: Request, job_id: JobId) -> JobView:
        """Cancel a job: it leaves at the end of its running chunk. One that is over stays as it is."""
        return job_view(await context.jobs.cancel(find(request, job_id)))

    @router.get(
        JOBS_PATH + "/{job_id}/result", responses=failures(400, 401, 404, 409), response_model_exclude_none=True
    )
    async def result(request: Request, job_id: JobId) -> ImagesResponse:
        """The answer that the call would have got; 409 while there is none."""
        record = find(request, job_id)
        if record.report is None:
            message = f"job {job_id} is {record.status}: it has no result"
            raise InvalidRequestError(message, "job_id", "job_has_no_result")
        call = record.call
        return ImagesResponse(
            created=record.finished_at or int(time.time()),
            data=[await _data(context, request, record, token) for token in record.files],
            size=str(call.params.size),
            quality=call.quality,
            output_format=call.file_format.name,
            tetriserve=record.report,
        )

    @router.get(FILES_PATH + "/{token}", response_class=Response, responses=FILE_RESPONSES)
    async def file(token: Annotated[str, Path(max_length=64)]) -> Response:
        """A finished image, for as long as the server keeps it. Its name is the only key that it needs."""
        data, media_type = await _file(context, token)
        return Response(data, media_type=media_type, headers={"Cache-Control": "private, max-age=600"})

    return router


def job_view(record: JobRecord) -> JobView:
    """A job as its owner sees it."""
    params = record.call.params
    assert params.slo_s is not None
    return JobView(
        id=record.job_id,
        status=record.status,
        created_at=record.created_at,
        finished_at=record.finished_at,
        num_steps_done=record.num_steps_done,
        num_steps=params.n * params.num_inference_steps,
        slo_s=params.slo_s,
        result_url=f"{JOBS_PATH}/{record.job_id}/result" if record.status == "completed" else None,
        error=record.error,
    )


async def _data(context: Context, request: Request, record: JobRecord, token: str) -> ImageData:
    if record.call.as_url:
        return ImageData(url=context.file_url(request, token))
    data, _ = await _file(context, token)
    return ImageData(b64_json=base64.b64encode(data).decode("ascii"))


async def _file(context: Context, token: str) -> tuple[bytes, str]:
    """A file of a call or of a job, and its media type. Raises InvalidRequestError."""
    kept = context.results.get(token)
    found = await context.jobs.file(token) if kept is None else (kept.data, kept.media_type)
    if found is None:
        raise InvalidRequestError("there is no such file (any more)", "token", "file_not_found")
    return found
