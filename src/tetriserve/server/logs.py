"""Logs of a server: a line for every image, in words or as JSON, with the id of the HTTP request it came with."""

import logging
import re
import sys
from collections import Counter
from uuid import uuid4

from asgi_correlation_id import CorrelationIdFilter, correlation_id
from pythonjsonlogger.json import JsonFormatter

from tetriserve.core.outcome import Outcome
from tetriserve.core.request import Request
from tetriserve.runtime.observer import Observer
from tetriserve.server.log_config import LogConfig

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
JSON_FIELDS = ["asctime", "levelname", "name", "message", "correlation_id"]
JSON_NAMES = {"asctime": "time", "levelname": "level", "name": "logger", "correlation_id": "http_request_id"}

PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

logger = logging.getLogger("tetriserve.requests")


def set_up_logs(config: LogConfig) -> None:
    """Replace the command line's logging by the server's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(CorrelationIdFilter(default_value=None))
    handler.setFormatter(
        JsonFormatter(JSON_FIELDS, rename_fields=JSON_NAMES) if config.log_format == "json" else logging.Formatter(TEXT)
    )
    level = logging.getLogger().level  # what --verbose set stays
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if level > logging.DEBUG:
        logging.getLogger("tetriserve").setLevel(config.log_level.upper())


def plain_id(given: str) -> str:
    """The X-Request-ID of a caller, or another where it is no plain word of reasonable length."""
    return given if PLAIN_ID.fullmatch(given) else uuid4().hex


class RequestLog(Observer):
    """Logs every image when it ends."""

    def __init__(self) -> None:
        self._callers: dict[str, str | None] = {}

    def arrived(self, request: Request) -> None:
        """Remember which HTTP request it came with."""
        self._callers[request.request_id] = correlation_id.get()

    def ended(self, outcome: Outcome) -> None:
        """Say what became of it."""
        caller = self._callers.pop(outcome.request.request_id)
        level = logging.WARNING if outcome.word == "failed" else logging.INFO
        if not logger.isEnabledFor(level):
            return
        token = correlation_id.set(caller)
        logger.log(level, "%s", _sentence(outcome), extra=_fields(outcome))
        correlation_id.reset(token)


def _sentence(outcome: Outcome) -> str:
    request = outcome.request
    delivery = f" + {request.delivery_s:.3f} s" if request.delivery_s else ""
    took = f"{outcome.latency_s:.3f} s{delivery} of {request.slo_s:.3f} s"
    degrees = ", ".join(f"{count} at degree {degree}" for degree, count in sorted(Counter(outcome.degrees).items()))
    why = f" ({outcome.error})" if outcome.word == "failed" else ""
    return (
        f"{request.request_id} {request.size}: {outcome.word}{why}, {took}, "
        f"steps: {degrees or 'none'}, {outcome.gpu_seconds:.3f} GPU-s"
    )


def _fields(outcome: Outcome) -> dict[str, object]:
    request = outcome.request
    return {
        "request_id": request.request_id,
        "size": str(request.size),
        "num_inference_steps": request.num_inference_steps,
        "outcome": outcome.word,
        "latency_s": round(outcome.latency_s, 4),
        "delivery_s": round(request.delivery_s, 4),
        "slo_s": round(request.slo_s, 4),
        "queue_s": round(outcome.queue_s, 4),
        "gpu_seconds": round(outcome.gpu_seconds, 4),
        "degrees": list(outcome.degrees),
        "error_code": outcome.error_code,
    }
