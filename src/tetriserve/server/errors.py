"""Error -> HTTP status, in OpenAI's error shape: the one place that decides it."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tetriserve.core.errors import InvalidRequestError, RequestCancelledError, RequestFailedError, TetriServeError
from tetriserve.server.disconnect import ClientGoneError
from tetriserve.server.wire.errors import ErrorBody, ErrorResponse

logger = logging.getLogger(__name__)

MAX_VALUE_CHARS = 60
MEANINGS = {
    400: "Something about the request can't be served; param names it.",
    401: "No API key, or none that is known.",
    404: "There is no such thing (any more).",
    408: "The body did not come.",
    409: "Not now: what was asked for was cancelled, or isn't there yet.",
    411: "The body doesn't say how long it is.",
    413: "The body is too long.",
    429: "Too much to do, or no chance to be on time; Retry-After says when to try again.",
    500: "This request failed; others are not touched.",
    501: "Not implemented.",
    503: "Nothing can be served (any more), or not now: Retry-After says when to try again.",
    507: "There is no room to keep a job.",
}
STATUS_OF_CODE = {"model_not_found": 404, "job_not_found": 404, "file_not_found": 404, "job_has_no_result": 409}


class RejectedError(TetriServeError):
    """A call that could be served another time: there is no room, or no chance to be on time."""

    def __init__(self, message: str, code: str, retry_after_s: int = 1, predicted_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s
        self.predicted_s = predicted_s


class UnavailableError(TetriServeError):
    """A call that this server can't take at present, whatever it asks for: it is ending, or can't keep a job."""

    def __init__(self, message: str, code: str, status: int = 503, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after_s = retry_after_s


def install(app: FastAPI) -> None:
    """Make `app` answer every error in one shape."""
    app.add_exception_handler(RequestValidationError, _invalid_body)
    app.add_exception_handler(TetriServeError, _ours)
    app.add_exception_handler(ClientGoneError, _nobody)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def error_response(status: int, body: ErrorBody, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error answer, in OpenAI's four fields and those of ours that say something."""
    content = ErrorResponse(error=body).model_dump()
    if body.predicted_latency_ms is None:
        del content["error"]["predicted_latency_ms"]
    return JSONResponse(content, status, headers)


async def _invalid_body(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    param = ".".join(str(part) for part in fault["loc"][1:]) or None
    if fault["type"] == "json_invalid":
        message, code = f"the body is not valid JSON: {fault['ctx']['error']}", "invalid_json"
        param = None
    elif isinstance(fault.get("input"), bytes):
        message, code = "the body is not sent as JSON: set the header Content-Type: application/json", "not_json"
    elif fault["type"] == "missing":
        message, code = f"{param or 'a JSON body'} is required", "missing_required_parameter"
    else:
        message, code = f"{param or 'body'} = {_shown(fault['input'])}: {fault['msg']}", "invalid_value"
    return error_response(400, ErrorBody(message=message, type="invalid_request_error", param=param, code=code))


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the API's description: these statuses come with an error."""
    return {status: {"model": ErrorResponse, "description": MEANINGS[status]} for status in statuses}


def error_of(error: TetriServeError) -> tuple[int, ErrorBody]:
    """The status and body of an error of ours, whether it is an answer, an event or a job's end."""
    match error:
        case InvalidRequestError(param=param, code=code):
            status = STATUS_OF_CODE.get(code, 400)
            return status, ErrorBody(message=str(error), type="invalid_request_error", param=param, code=code)
        case RejectedError(code=code, predicted_s=predicted_s):
            predicted_ms = None if predicted_s is None else round(predicted_s * 1e3, 1)
            body = ErrorBody(message=str(error), type="rate_limit_error", code=code, predicted_latency_ms=predicted_ms)
            return 429, body
        case UnavailableError(code=code, status=status):
            return status, ErrorBody(message=str(error), type="server_error", code=code)
        case RequestCancelledError():
            return 409, ErrorBody(message=str(error), type="invalid_request_error", code="cancelled")
        case RequestFailedError(code=code):
            return 500, ErrorBody(message=str(error), type="server_error", code=code)
        case _:
            return 503, ErrorBody(message=str(error), type="server_error", code="engine_down")


async def _ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TetriServeError)
    status, body = error_of(error)
    if isinstance(error, RejectedError | UnavailableError):
        return error_response(status, body, {"Retry-After": str(error.retry_after_s)})
    return error_response(status, body)


async def _nobody(_: Request, __: Exception) -> Response:
    """An answer that nobody will read; 499 is what logs call it."""
    return Response(status_code=499)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = {
        404: f"there is no {request.url.path[:MAX_VALUE_CHARS]} here; see /docs for what there is",
        405: f"{request.method} is not allowed on {request.url.path[:MAX_VALUE_CHARS]}",
    }.get(error.status_code, str(error.detail))
    body = ErrorBody(message=message, type="invalid_request_error", code=f"http_{error.status_code}")
    return error_response(error.status_code, body, error.headers)


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    logger.exception("unexpected error", exc_info=error)
    return error_response(500, ErrorBody(message="internal error", type="server_error", code="internal_error"))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}... ({len(text)} characters)"
