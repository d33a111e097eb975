"""OpenAI's Images API over a FIFO, as far as `bench serve` needs it.

The answer's `tetriserve` object has the fields that `bench serve` reads of any server that gives them.
"""

import asyncio
import base64
import time
from typing import Any, cast

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from tetriserve.core.errors import EngineError, InvalidRequestError
from tetriserve.core.image import Image
from tetriserve.core.size import Size
from tetriserve.peers.fifo import Fifo, Served
from tetriserve.peers.job import VARIANTS, Job, Variant
from tetriserve.runtime.image_file import FileFormat, encode
from tetriserve.runtime.menu import Menu
from tetriserve.server.wire.images import ImagesRequest


def create_app(fifo: Fifo, menu: Menu, name: str, num_devices: int) -> FastAPI:
    """The application; the FIFO is run by its caller."""
    app = FastAPI(title=name)

    @app.get("/health")
    async def health(response: Response) -> dict[str, Any]:
        response.status_code = 200 if fifo.failure is None else 503
        return {"status": fifo.failure or "ok", "policy": name, "num_devices": num_devices}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": menu.card.name, "object": "model"}]}

    @app.post("/v1/images/generations")
    async def generate(body: ImagesRequest) -> JSONResponse:
        try:
            job = _job(body, menu)
            served = await fifo.make(job)
        except InvalidRequestError as error:
            return _failure(400, str(error))
        except EngineError as error:
            return _failure(500, str(error))
        file_format = FileFormat(body.output_format or "png", body.output_compression)
        image = Image(job.width, job.height, served.made.rgb)
        file = await asyncio.to_thread(encode, image, file_format)
        return JSONResponse(_answer(file, job, served))

    return app


def _job(body: ImagesRequest, menu: Menu) -> Job:
    """Raises InvalidRequestError."""
    params = menu.params(
        body.prompt,
        size=body.size or "auto",
        seed=body.seed,
        num_inference_steps=body.num_inference_steps,
        guidance_scale=body.guidance_scale,
    )
    variant = (body.model_extra or {}).get("variant", "plain")
    if variant not in VARIANTS:
        raise InvalidRequestError(f"variant {variant!r}: must be one of {', '.join(VARIANTS)}", "variant")
    size: Size = params.size
    return Job(
        params.prompt,
        *size,
        params.num_inference_steps,
        params.guidance_scale,
        params.seed,
        cast(Variant, variant),
    )


def _answer(file: bytes, job: Job, served: Served) -> dict[str, Any]:
    return {
        "created": int(time.time()),
        "data": [{"b64_json": base64.b64encode(file).decode("ascii")}],
        "tetriserve": {
            "queue_s": served.queue_s,
            "gpu_seconds": served.made.seconds * served.degree,
            "degrees": [served.degree] * job.num_inference_steps,
        },
    }


def _failure(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "server_error"}}, status)
