"""Retention: for how long a tenant's events are kept."""

from fastapi import APIRouter

from farthing.api.documents.keeping import RetentionDocument
from farthing.api.routes import changes, shows
from farthing.api.web import House, JsonWrite, TenantId
from farthing.keeping.retention import parse_retention, retention_json
from farthing.keeping.service import get_retention, set_keep_days

router = APIRouter(prefix="/v1/retention", tags=["Events"])


@shows(router, "", RetentionDocument, "Get the retention")
def get(tenant_id: TenantId, services: House) -> object:
    """For how long events are kept, and what was removed so far."""
    return retention_json(get_retention(services.books, tenant_id))


@changes(router, "PUT", "", RetentionDocument, "Set the retention", body_name="RetentionBody")
def put(write: JsonWrite) -> object:
    """The engine removes hourly what is older and, where it is to be billed, on an invoice. That cannot be undone."""
    services = write.services
    days = parse_retention(write.body)
    set_keep_days(services.books, write.tenant_id, days, services.now())
    return retention_json(get_retention(services.books, write.tenant_id))
