"""What came back for one request of a load, from any server in OpenAI's shape."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

import msgspec

from tetriserve.core.outcome import Outcome
from tetriserve.workload.trace import TraceEntry

MAX_MESSAGE_CHARS = 300
UNFINISHED = "unfinished"
"""The code of a request that was past its deadline when the run was stopped."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`latency_s` counts from the intended start, so whatever holds the request up counts, the client included.

    `send_lag_s` is the part of it before the client began to send. `code` is None when there is an image, else the
    HTTP status, or `timeout`, `connection`, `no image`, or UNFINISHED.
    `report` is our server's own account, empty of another's.
    """

    entry: TraceEntry
    latency_s: float
    send_lag_s: float
    code: str | None = None
    error: str = ""
    report: Mapping[str, Any] = field(default_factory=dict, repr=False)
    b64_json: str | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an image."""
        return self.code is None

    @property
    def met_deadline(self) -> bool:
        """Whether there is an image and it came within the SLO, by the client's clock."""
        return self.ok and self.latency_s <= self.entry.slo_s

    def png(self) -> bytes:
        """The image's file; only of a target that keeps images."""
        assert self.b64_json is not None
        return base64.b64decode(self.b64_json)

    def outcome(self) -> Outcome:
        """The same as the scheduler tells it; what another's server doesn't tell is NaN."""
        degrees = self.report.get("degrees")
        return Outcome(
            request=self.entry.to_request(),
            finished_s=self.entry.arrival_s + self.latency_s,
            queue_s=_number(self.report.get("queue_s")),
            gpu_seconds=_number(self.report.get("gpu_seconds")),
            degrees=tuple(degrees) if isinstance(degrees, list) else (),
            error_code=self.code,
            error=None if self.ok else self.error or self.code,
        )


def read_reply(
    entry: TraceEntry, times_s: tuple[float, float], status: int, body: bytes, keep_image: bool = False
) -> Reply:
    """From an HTTP answer; `times_s` are latency and send lag."""
    answer = read_object(body)
    if status != 200:
        return Reply(entry, *times_s, str(status), _message(answer, body))
    image = _first_image(answer)
    if image is None:
        return Reply(entry, *times_s, "no image", _message(answer, body))
    report = answer.get("tetriserve")
    b64_json = image.get("b64_json") if keep_image else None
    return Reply(entry, *times_s, report=report if isinstance(report, dict) else {}, b64_json=b64_json)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that an answer holds; empty if it is anything else."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _first_image(answer: Mapping[str, Any]) -> Mapping[str, Any] | None:
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data else None
    return first if isinstance(first, dict) and (first.get("b64_json") or first.get("url")) else None


def _message(answer: Mapping[str, Any], body: bytes) -> str:
    """OpenAI's `error.message`, FastAPI's `detail`, or the beginning of whatever came."""
    error = answer.get("error")
    said = (error.get("message") if isinstance(error, dict) else error) or answer.get("detail")
    return str(said or body[:MAX_MESSAGE_CHARS].decode(errors="replace"))[:MAX_MESSAGE_CHARS]


def _number(raw: Any) -> float:
    return float(raw) if isinstance(raw, int | float) else nan
