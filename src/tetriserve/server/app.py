"""The HTTP application: routes over a running service, and what stands in front of them."""

from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from tetriserve.runtime.service import Service
from tetriserve.server import errors
from tetriserve.server.board import board_routes
from tetriserve.server.body_limit import BodyLimit
from tetriserve.server.config import ServerConfig
from tetriserve.server.context import WARNING_HEADER, Context
from tetriserve.server.generations import generations
from tetriserve.server.headers import SafeHeaders
from tetriserve.server.job_routes import job_routes
from tetriserve.server.keys import KeyCheck, KeyRing
from tetriserve.server.logs import RequestLog, plain_id
from tetriserve.server.metrics import ServerMetrics, metrics_route
from tetriserve.server.models import model_routes
from tetriserve.server.page_routes import page_routes

DESCRIPTION = "Images by their deadlines, in the shape of OpenAI's Images API."


def create_app(service: Service, config: ServerConfig | None = None) -> FastAPI:
    """An application whose jobs end with the process. The service is started and closed by its caller."""
    return app_of(Context.of(service, config or ServerConfig()))


def app_of(context: Context) -> FastAPI:
    """The application over what its routes share."""
    service, config = context.service, context.config
    app = FastAPI(title="TetriServe", description=DESCRIPTION, docs_url=None, redoc_url=None)  # see page_routes
    errors.install(app)
    app.include_router(generations(context))
    app.include_router(job_routes(context))
    service.runtime.recorder.observers.append(RequestLog())
    app.include_router(metrics_route(ServerMetrics(context)))
    app.include_router(model_routes(context))
    app.include_router(board_routes(context))
    app.include_router(page_routes())
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
    app.add_middleware(CorrelationIdMiddleware, validator=None, transformer=plain_id)
    return app
