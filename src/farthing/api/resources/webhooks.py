"""What payment gateways tell by themselves. There is no API key: the signature says who it is from, and for whom."""

from typing import Any

from fastapi import APIRouter, Request, Response

from farthing.api.documents.payment import WebhookDocument
from farthing.api.web import House, PathText, RawBody, found, problems
from farthing.kernel.errors import NotFound
from farthing.kernel.reading import shown
from farthing.payments.webhooks.service import read_message, take_events

router = APIRouter(prefix="/v1/webhooks", tags=["Payments"])

_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
}


@router.post(
    "/{gateway}",
    response_model=None,
    responses={200: {"model": WebhookDocument}, **problems(400, 404, 413, 422)},
    openapi_extra=_BODY,
    summary="Take what a gateway tells",
)
def take(gateway: PathText, raw: RawBody, request: Request, services: House) -> Response:
    """Signed by the gateway, no older than five minutes; an event that came before does nothing."""
    if services.gateways is None:
        raise NotFound("unknown_gateway", f"there is no gateway {shown(gateway)} here")
    now = services.now()
    tenant_id, events = read_message(services.gateways.all(), gateway, request.headers, raw, now)
    effects = take_events(services.books, tenant_id, gateway, events, now)
    return found({name: effects[name] for name in ("applied", "nothing_new", "unmatched", "ignored")})
