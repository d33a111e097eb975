"""One checked call: what it asks for in the words of the runtime, and how its answer is to look."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Self

from tetriserve.core.errors import InvalidRequestError
from tetriserve.core.params import MAX_SLO_S, GenerationParams
from tetriserve.core.request import Request
from tetriserve.runtime.classes import DEFAULT_CLASS, choose_class
from tetriserve.runtime.image_file import FileFormat
from tetriserve.runtime.service import Service
from tetriserve.server.config import ServerConfig
from tetriserve.server.wire.images import ImagesRequest


@dataclass(frozen=True, slots=True)
class Call:
    """`params` have an SLO. `min_steps` is how few steps the caller would take; `requested_steps` what it asked for.

    `arrival_s` is when the body had been read: the deadline counts from there. `delivery_s`: see Request.
    """

    caller: str
    request_id: str
    arrival_s: float
    params: GenerationParams
    service_class: str
    quality: str
    file_format: FileFormat
    as_url: bool
    requested_steps: int
    min_steps: int | None
    warnings: tuple[str, ...]
    delivery_s: float = 0.0

    @property
    def delivery_kind(self) -> Hashable:
        """What the time of its delivery depends on."""
        return self.params.size, self.params.n, self.file_format, self.as_url

    @property
    def deadline_s(self) -> float:
        """When all its images are due."""
        assert self.params.slo_s is not None
        return self.arrival_s + self.params.slo_s

    def requests(self) -> tuple[Request, ...]:
        """One for each image."""
        return self.params.requests(self.request_id, self.arrival_s, self.delivery_s)

    def with_steps(self, num_steps: int) -> Self:
        """The same with fewer steps, which the caller is told."""
        told = f"made in {num_steps} steps instead of {self.requested_steps}, to be there by its deadline"
        params = replace(self.params, num_inference_steps=num_steps)
        return replace(self, params=params, warnings=(*self.warnings, told))

    def with_weight(self, weight: float) -> Self:
        """The same, that counts so much where somebody must be left out."""
        return replace(self, params=replace(self.params, weight=weight))


def read_call(service: Service, config: ServerConfig, body: ImagesRequest, slo_header: str | None, caller: str) -> Call:
    """From the JSON shape to a checked call. Raises InvalidRequestError."""
    arrival_s = service.runtime.now_s()
    service.menu.check_model(body.model)
    _check_combination(body)
    chosen = choose_class(config.classes, body.service_class)
    params = service.menu.params(
        body.prompt,
        size=body.size or "auto",
        n=1 if body.n is None else body.n,
        seed=body.seed,
        num_inference_steps=body.num_inference_steps or service.menu.num_steps(body.quality or "auto"),
        guidance_scale=body.guidance_scale,
        negative_prompt=body.negative_prompt or "",
        slo_s=_slo_s(body.slo_ms, slo_header),
    )
    num_partial_images = (body.partial_images or 0) if body.stream else 0
    if (chosen.weight, num_partial_images) != (params.weight, params.num_partial_images):
        params = replace(params, weight=chosen.weight, num_partial_images=num_partial_images)
    params = service.with_slo(params, chosen.slo_factor)
    steps, least = params.num_inference_steps, body.min_num_inference_steps
    if least is not None and least > steps:
        raise InvalidRequestError(
            f"min_num_inference_steps = {least}: more than the {steps} steps asked for", "min_num_inference_steps"
        )
    call = Call(
        caller=caller,
        request_id=service.runtime.new_request_id(),
        arrival_s=arrival_s,
        params=params,
        service_class=body.service_class or DEFAULT_CLASS,
        quality=body.quality or "auto",
        file_format=FileFormat(body.output_format or "png", body.output_compression),
        as_url=body.response_format == "url",
        requested_steps=steps,
        min_steps=least,
        warnings=_warnings(body),
    )
    if body.stream or body.background:  # events come as they come, and files wait for who asks
        return call
    return replace(call, delivery_s=service.delivery.expected_s(call.delivery_kind, call.deadline_s - arrival_s))


def _check_combination(body: ImagesRequest) -> None:
    """Fields that are well alone and not together."""
    if body.background == "transparent":
        raise InvalidRequestError("background = 'transparent': images here are opaque", "background")
    if body.stream and body.background is True:
        raise InvalidRequestError("stream and background = true: an answer comes now or later, not both", "stream")
    if body.stream and body.response_format == "url":
        raise InvalidRequestError("response_format = 'url': streamed images come as b64_json", "response_format")


def _slo_s(slo_ms: float | None, header: str | None) -> float | None:
    """The body's deadline, else the header's."""
    if slo_ms is not None:
        return slo_ms / 1e3
    if header is None:
        return None
    try:
        return float(header) / 1e3
    except ValueError:
        limit_ms = MAX_SLO_S * 1e3
        message = f"header X-SLO-Ms = {header[:40]!r}: must be a number above 0 and at most {limit_ms:g}"
        raise InvalidRequestError(message, "X-SLO-Ms") from None


def _warnings(body: ImagesRequest) -> tuple[str, ...]:
    found = []
    if body.ignored_fields:
        found.append(f"ignored fields: {', '.join(body.ignored_fields)}"[:1000])
    if body.partial_images and not body.stream:
        found.append("partial_images without stream: there is nowhere to show them")
    return tuple(found)
