"""Retention: for how long a tenant's events are kept."""

from fastapi import APIRouter, Response

from farthing.api.documents.keeping import RetentionDocument
from farthing.api.idempotency import Answer
from farthing.api.web import READ, WRITE, House, JsonWrite, TenantId, body, found
from farthing.keeping.retention import parse_retention, retention_json
from farthing.keeping.service import get_retention, set_keep_days

router = APIRouter(prefix="/v1/retention", tags=["Events"])


@router.get(
    "",
    response_model=None,
    responses={200: {"model": RetentionDocument}, **READ},
    summary="Get the retention",
)
def get(tenant_id: TenantId, services: House) -> Response:
    """For how long events are kept, and what was removed so far."""
    return found(retention_json(get_retention(services.books, tenant_id)))


@router.put(
    "",
    response_model=None,
    responses={200: {"model": RetentionDocument}, **WRITE},
    openapi_extra=body("RetentionBody"),
    summary="Set the retention",
)
def put(write: JsonWrite) -> Response:
    """The engine removes hourly what is older and, where it is to be billed, on an invoice. That cannot be undone."""
    services = write.services
    days = parse_retention(write.body)

    def effect() -> Answer:
        set_keep_days(services.books, write.tenant_id, days, services.now())
        return Answer(200, retention_json(get_retention(services.books, write.tenant_id)))

    return write.once(effect)
