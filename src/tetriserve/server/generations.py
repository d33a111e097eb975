"""`POST /v1/images/generations`: at once, as a stream, or as a job."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response

from tetriserve.server.answers import answer, finish_all, learn_delivery
from tetriserve.server.call import Call, read_call
from tetriserve.server.context import JOBS_PATH, WARNING_HEADER, Context, caller_of, warning_headers
from tetriserve.server.disconnect import unless_gone
from tetriserve.server.errors import error_response, failures
from tetriserve.server.job_routes import job_view
from tetriserve.server.streaming import EventStream, call_events
from tetriserve.server.wire.errors import ErrorBody
from tetriserve.server.wire.events import CompletedEvent, PartialImageEvent, ProgressEvent
from tetriserve.server.wire.images import ImagesRequest, ImagesResponse
from tetriserve.server.wire.jobs import JobView

EVENTS_SCHEMA = {"anyOf": [event.model_json_schema() for event in (ProgressEvent, PartialImageEvent, CompletedEvent)]}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The images; with stream, events: tetriserve.progress, image_generation.partial_image and "
        "image_generation.completed, or error.",
        "headers": {WARNING_HEADER: {"description": "What was not done as asked.", "schema": {"type": "string"}}},
        "content": {"text/event-stream": {"schema": EVENTS_SCHEMA}},
    },
    202: {"model": JobView, "description": "With background: the job that was begun."},
    **failures(400, 401, 404, 408, 409, 411, 413, 429, 500, 503, 507),
}

SloHeader = Annotated[
    str | None, Header(alias="X-SLO-Ms", description="Deadline in milliseconds, for a body without slo_ms.")
]


def generations(context: Context) -> APIRouter:
    """The routes that make images."""
    router = APIRouter(tags=["images"])
    service, gate = context.service, context.gate

    @router.post("/v1/images/generations", response_model=ImagesResponse, responses=RESPONSES)
    async def generate(body: ImagesRequest, request: Request, slo_header: SloHeader = None) -> Response:
        """Make `n` images of one prompt. The clock of the deadline starts when the body has been read."""
        call = gate.admit(read_call(service, context.config, body, slo_header, caller_of(request)))
        if body.background is True:
            record = await context.jobs.start(call)
            headers = {"Location": f"{JOBS_PATH}/{record.job_id}"} | warning_headers(call.warnings)
            return _json(job_view(record), headers, 202)
        if body.stream:
            events = call_events(service, call)
            return EventStream(events, warning_headers(call.warnings), lambda: gate.leave(call))
        try:
            images = await unless_gone(request.receive, finish_all(service, call))
        finally:
            gate.leave(call)
        made = answer(call, images, lambda file: _keep(context, request, call, file))
        response = _json(made, warning_headers(made.tetriserve.warnings))
        learn_delivery(service, call, images)
        return response

    @router.post("/v1/images/edits", status_code=501, responses=failures(401, 501))
    @router.post("/v1/images/variations", status_code=501, responses=failures(401, 501))
    async def edit() -> Response:
        """Not there yet."""
        message = "this server makes images from text only; edits and variations are not implemented"
        return error_response(501, ErrorBody(message=message, type="invalid_request_error", code="not_implemented"))

    return router


def _keep(context: Context, request: Request, call: Call, file: bytes) -> str:
    return context.file_url(request, context.results.put(file, call.file_format.media_type))


def _json(shape: ImagesResponse | JobView, headers: dict[str, str], status: int = 200) -> Response:
    """Serialized once, here: the framework would validate and copy megabytes of base64."""
    return Response(shape.model_dump_json(exclude_none=True), status, headers, "application/json")
