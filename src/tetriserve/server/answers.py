"""Runs a call to its images, and says how they were made."""

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tetriserve.core.request import Request
from tetriserve.runtime.image_file import encode
from tetriserve.runtime.runtime import Result, Watcher
from tetriserve.runtime.service import Service
from tetriserve.server.call import Call
from tetriserve.server.wire.images import ImageData, ImageReport, ImagesResponse, ServingReport


@dataclass(frozen=True, slots=True)
class Finished:
    """One image as a file, and when that was ready."""

    result: Result
    file: bytes
    finished_s: float

    @property
    def b64_json(self) -> str:
        """The file in base64."""
        return base64.b64encode(self.file).decode("ascii")


async def finish(service: Service, call: Call, request: Request, watcher: Watcher | None = None) -> Finished:
    """Run one request to an encoded image; the file is made off the event loop."""
    result = await service.runtime.generate(request, watcher)
    file = await asyncio.to_thread(encode, result.image, call.file_format)
    return Finished(result, file, service.runtime.now_s())


async def finish_all(service: Service, call: Call, watcher: Watcher | None = None) -> list[Finished]:
    """All images of a call. If one fails, nobody waits for the others: they are cancelled."""
    if call.params.n == 1:
        return [await finish(service, call, call.requests()[0], watcher)]
    tasks = [asyncio.ensure_future(finish(service, call, request, watcher)) for request in call.requests()]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def answer(call: Call, images: Sequence[Finished], keep: Callable[[bytes], str]) -> ImagesResponse:
    """The answer to a call whose images are all there; `keep` gives the URL of a file."""
    return ImagesResponse(
        created=int(time.time()),
        data=[ImageData(url=keep(one.file)) if call.as_url else ImageData(b64_json=one.b64_json) for one in images],
        size=str(call.params.size),
        quality=call.quality,
        output_format=call.file_format.name,
        tetriserve=report(call, images),
    )


def learn_delivery(service: Service, call: Call, images: Sequence[Finished]) -> None:
    """The answer with these images is ready to be sent."""
    decoded_s = max(image.result.outcome.finished_s for image in images)
    service.delivery.observe(call.delivery_kind, service.runtime.now_s() - decoded_s)


def report(call: Call, images: Sequence[Finished]) -> ServingReport:
    """How some images of a call were served."""
    assert call.params.slo_s is not None
    finished_s = max(image.finished_s for image in images)
    outcomes = [image.result.outcome for image in images]
    warnings = [*call.warnings, *(warning for image in images for warning in image.result.image.warnings)]
    return ServingReport(
        request_id=call.request_id,
        met_deadline=finished_s <= call.deadline_s,
        latency_s=finished_s - call.arrival_s,
        slo_s=call.params.slo_s,
        service_class=call.service_class,
        queue_s=max(outcome.queue_s for outcome in outcomes),
        gpu_seconds=sum(outcome.gpu_seconds for outcome in outcomes),
        degrees=[degree for outcome in outcomes for degree in outcome.degrees],
        seed=outcomes[0].request.seed,
        num_inference_steps=call.params.num_inference_steps,
        requested_num_inference_steps=call.requested_steps,
        guidance_scale=call.params.guidance_scale,
        images=[
            ImageReport(
                seed=outcome.request.seed,
                latency_s=image.finished_s - call.arrival_s,
                queue_s=outcome.queue_s,
                gpu_seconds=outcome.gpu_seconds,
                degrees=list(outcome.degrees),
            )
            for image, outcome in zip(images, outcomes, strict=True)
        ],
        warnings=list(dict.fromkeys(warnings)),
    )
