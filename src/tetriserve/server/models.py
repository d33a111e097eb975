"""`/health` and `/v1/models`: whether anything is served, and what."""

from fastapi import APIRouter, Response

from tetriserve.cost.deadline import default_slo_s
from tetriserve.runtime.service import Service
from tetriserve.server.context import Context
from tetriserve.server.errors import failures
from tetriserve.server.wire.models import Health, ModelCard, ModelList, ModelOffer, SizeOffer


def model_routes(context: Context) -> APIRouter:
    """The routes; /health needs no key."""
    router = APIRouter(tags=["server"])
    service = context.service
    card = ModelCard(id=service.menu.card.name, tetriserve=_offer(service, list(context.config.classes)))

    @router.get("/health", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """200 while new requests are taken, 503 with the reason otherwise."""
        failure, is_closed = service.runtime.failure, context.gate.is_closed
        response.status_code = 503 if is_closed or failure is not None else 200
        return Health(
            status="draining" if is_closed else "ok" if failure is None else "failed",
            model=card.id,
            policy=service.policy,
            num_devices=service.runtime.executor.num_devices,
            num_in_flight=service.runtime.num_in_flight,
            lost_devices=service.runtime.scheduler.lost_devices,
            slow_devices=service.runtime.scheduler.slow_devices,
            detail=failure,
        )

    @router.get("/v1/models", responses=failures(401))
    async def models() -> ModelList:
        """The one model that is served."""
        return ModelList(data=[card])

    @router.get("/v1/models/{name}", responses=failures(400, 401, 404))
    async def model(name: str) -> ModelCard:
        """The served model, by its name."""
        service.menu.check_model(name)
        return card

    return router


def _offer(service: Service, classes: list[str]) -> ModelOffer:
    menu, card = service.menu, service.menu.card
    steps = card.default_num_inference_steps
    return ModelOffer(
        sizes=[
            SizeOffer(
                size=str(size),
                default_slo_s=default_slo_s(size, steps, service.cost, service.slo_table),
                fastest_s=service.cost.solo_s(size, steps),
            )
            for size in menu.sizes
        ],
        default_size=str(menu.default_size),
        default_num_inference_steps=steps,
        default_guidance_scale=card.default_guidance_scale,
        guidance=card.guidance,
        service_classes=classes,
    )
