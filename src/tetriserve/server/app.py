"""The HTTP application: three routes over a running service."""

import asyncio
import time
from dataclasses import dataclass

from fastapi import FastAPI, Response

from tetriserve.core.params import GenerationParams
from tetriserve.core.request import Request
from tetriserve.runtime.png import encode_base64_png
from tetriserve.runtime.runtime import Result
from tetriserve.runtime.service import Service
from tetriserve.server import errors, wire
from tetriserve.server.body_limit import BodyLimit

WARNING_HEADER = "X-TetriServe-Warning"


@dataclass(frozen=True, slots=True)
class Finished:
    """One image as it goes out, and when it was ready to."""

    result: Result
    b64_json: str
    finished_s: float


def create_app(service: Service) -> FastAPI:
    """The application. It owns nothing: the service is started and closed by its caller."""
    app = FastAPI(title="TetriServe", description="Images by their deadlines, in the shape of OpenAI's Images API.")
    errors.install(app)
    app.add_middleware(BodyLimit)

    @app.post("/v1/images/generations", responses={400: {"model": wire.ErrorResponse}})
    async def generate(body: wire.ImagesRequest, response: Response) -> wire.ImagesResponse:
        """Make `n` images of one prompt. The clock of the deadline starts here, when the body has been read."""
        arrival_s = service.runtime.now_s()
        params = read_params(service, body)
        requests = params.requests(service.runtime.new_request_id(), arrival_s)
        images = await asyncio.gather(*(finish(service, request) for request in requests))
        answer = report(params, requests, images)
        warnings = answer.tetriserve.warnings
        if body.ignored_fields:
            warnings.insert(0, f"ignored fields: {', '.join(body.ignored_fields)}"[:1000])
        if warnings:
            # Escaped, because a field's name may hold line breaks, which would end the header.
            response.headers[WARNING_HEADER] = "; ".join(warnings).encode("unicode_escape").decode("ascii")
        return answer

    @app.get("/health", responses={503: {"model": wire.Health}})
    async def health(response: Response) -> wire.Health:
        """200 while requests can be served, 503 with the reason otherwise."""
        failure = service.runtime.failure
        response.status_code = 200 if failure is None else 503
        return wire.Health(
            status="ok" if failure is None else "failed",
            model=service.menu.card.name,
            policy=service.policy,
            num_devices=service.runtime.executor.num_devices,
            num_in_flight=service.runtime.num_in_flight,
            detail=failure,
        )

    @app.get("/v1/models")
    async def models() -> wire.ModelList:
        """The one model that is served."""
        return wire.ModelList(data=[wire.ModelCard(id=service.menu.card.name)])

    @app.get("/v1/models/{name}", responses={404: {"model": wire.ErrorResponse}})
    async def model(name: str) -> wire.ModelCard:
        """The served model, by its name."""
        service.menu.check_model(name)
        return wire.ModelCard(id=name)

    return app


def read_params(service: Service, body: wire.ImagesRequest) -> GenerationParams:
    """From the JSON shape to checked parameters with an SLO. Raises InvalidRequestError."""
    service.menu.check_model(body.model)
    params = service.menu.params(
        body.prompt,
        size=body.size or "auto",
        n=1 if body.n is None else body.n,
        seed=body.seed,
        num_inference_steps=body.num_inference_steps,
        guidance_scale=body.guidance_scale,
        negative_prompt=body.negative_prompt,
        slo_s=None if body.slo_ms is None else body.slo_ms / 1e3,
    )
    return service.with_slo(params)


async def finish(service: Service, request: Request) -> Finished:
    """Run one request to an encoded image; the file is made off the event loop."""
    result = await service.runtime.generate(request)
    b64_json = await asyncio.to_thread(encode_base64_png, result.image)
    return Finished(result, b64_json, service.runtime.now_s())


def report(params: GenerationParams, requests: tuple[Request, ...], images: list[Finished]) -> wire.ImagesResponse:
    """The answer to a request whose images are all there."""
    first = requests[0]
    finished_s = max(image.finished_s for image in images)
    outcomes = [image.result.outcome for image in images]
    serving = wire.ServingReport(
        request_id=first.request_id,
        met_deadline=finished_s <= first.deadline_s,
        latency_s=finished_s - first.arrival_s,
        slo_s=first.slo_s,
        queue_s=max(outcome.queue_s for outcome in outcomes),
        gpu_seconds=sum(outcome.gpu_seconds for outcome in outcomes),
        degrees=[degree for outcome in outcomes for degree in outcome.degrees],
        seed=params.seed,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        images=[
            wire.ImageReport(
                seed=outcome.request.seed,
                latency_s=image.finished_s - first.arrival_s,
                queue_s=outcome.queue_s,
                gpu_seconds=outcome.gpu_seconds,
                degrees=list(outcome.degrees),
            )
            for image, outcome in zip(images, outcomes, strict=True)
        ],
        warnings=list(dict.fromkeys(warning for image in images for warning in image.result.image.warnings)),
    )
    data = [wire.ImageData(b64_json=image.b64_json) for image in images]
    return wire.ImagesResponse(created=int(time.time()), data=data, size=str(params.size), tetriserve=serving)
