"""Error -> HTTP status, in OpenAI's error shape: the one place that decides it."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tetriserve.core.errors import EngineError, InvalidRequestError, RequestFailedError
from tetriserve.server.wire import ErrorBody, ErrorResponse

logger = logging.getLogger(__name__)

MAX_VALUE_CHARS = 60


def install(app: FastAPI) -> None:
    """Make `app` answer every error in one shape."""
    app.add_exception_handler(RequestValidationError, _invalid_body)
    app.add_exception_handler(InvalidRequestError, _invalid_request)
    app.add_exception_handler(EngineError, _engine_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)


def error_response(status: int, body: ErrorBody, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error answer."""
    return JSONResponse(ErrorResponse(error=body).model_dump(), status, headers)


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


async def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InvalidRequestError)
    status = 404 if error.code == "model_not_found" else 400
    body = ErrorBody(message=str(error), type="invalid_request_error", param=error.param, code=error.code)
    return error_response(status, body)


async def _engine_error(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestFailedError):
        return error_response(500, ErrorBody(message=str(error), type="server_error", code=error.code))
    return error_response(503, ErrorBody(message=str(error), type="server_error", code="engine_down"))


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
