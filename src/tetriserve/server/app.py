"""The HTTP application: routes over a running service, and what stands in front of them."""

from fastapi import FastAPI, Response
from starlette.middleware.cors import CORSMiddleware

from tetriserve.runtime.service import Service
from tetriserve.server import errors
from tetriserve.server.body_limit import BodyLimit
from tetriserve.server.config import ServerConfig
from tetriserve.server.context import WARNING_HEADER, Context
from tetriserve.server.errors import failures
from tetriserve.server.generations import generations
from tetriserve.server.headers import SafeHeaders
from tetriserve.server.job_routes import job_routes
from tetriserve.server.keys import KeyCheck, KeyRing
from tetriserve.server.metrics import ServerMetrics, metrics_route
from tetriserve.server.wire.models import Health, ModelCard, ModelList

DESCRIPTION = "Images by their deadlines, in the shape of OpenAI's Images API."


def create_app(service: Service, config: ServerConfig | None = None) -> FastAPI:
    """The application. The service is started and closed by its caller."""
    config = config or ServerConfig()
    context = Context.of(service, config)
    app = FastAPI(title="TetriServe", description=DESCRIPTION)
    errors.install(app)
    app.include_router(generations(context))
    app.include_router(job_routes(context))
    app.include_router(metrics_route(ServerMetrics(service.runtime)))
    _add_model_routes(app, service)
    # The last one added is the first that a request meets.
    app.add_middleware(BodyLimit)
    app.add_middleware(KeyCheck, keys=KeyRing(config.api_keys))
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-SLO-Ms"],
            expose_headers=[WARNING_HEADER, "Retry-After"],
        )
    app.add_middleware(SafeHeaders)
    return app


def _add_model_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", responses={503: {"model": Health}}, tags=["server"])
    async def health(response: Response) -> Health:
        """200 while requests can be served, 503 with the reason otherwise."""
        failure = service.runtime.failure
        response.status_code = 200 if failure is None else 503
        return Health(
            status="ok" if failure is None else "failed",
            model=service.menu.card.name,
            policy=service.policy,
            num_devices=service.runtime.executor.num_devices,
            num_in_flight=service.runtime.num_in_flight,
            detail=failure,
        )

    @app.get("/v1/models", responses=failures(401), tags=["server"])
    async def models() -> ModelList:
        """The one model that is served."""
        return ModelList(data=[ModelCard(id=service.menu.card.name)])

    @app.get("/v1/models/{name}", responses=failures(400, 401, 404), tags=["server"])
    async def model(name: str) -> ModelCard:
        """The served model, by its name."""
        service.menu.check_model(name)
        return ModelCard(id=name)
