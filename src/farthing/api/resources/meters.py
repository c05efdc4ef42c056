"""Meters: how events become quantities."""

from typing import Annotated

from fastapi import APIRouter, Query

from farthing.api.documents.shapes import MeterDocument, MeterPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import makes, shows
from farthing.api.web import (
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    page_json,
)
from farthing.catalog.meter import meter_json
from farthing.catalog.service import get_meter, list_meters, put_meter

router = APIRouter(prefix="/v1/meters", tags=["Meters"])


@makes(router, "", MeterDocument, "MeterBody", "Create a meter", standing="The same meter stands already.")
def create_meter(write: JsonWrite) -> Answer:
    """A meter never changes: the same definition again is fine, another under its key is a conflict."""
    services = write.services
    meter, outcome = put_meter(services.books, write.tenant_id, write.body, services.now())
    return created(outcome, meter_json(meter))


@shows(router, "", MeterPage, "List meters")
def list_all_meters(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """In order of their keys."""
    after = read_cursor(query.cursor, "meters")
    items = list_meters(services.books, tenant_id, after, query.limit + 1)
    return page_json(items, query.limit, "meters", lambda meter: meter.key, meter_json)


@shows(router, "/{key}", MeterDocument, "Get a meter")
def get_one_meter(key: PathText, tenant_id: TenantId, services: House) -> object:
    """A meter by its key."""
    return meter_json(get_meter(services.books, tenant_id, key))
