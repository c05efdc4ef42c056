"""Meters: how events become quantities."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from farthing.api.documents.shapes import MeterDocument, MeterPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    body,
    created,
    creates,
    found,
    found_page,
)
from farthing.catalog.meter import meter_json
from farthing.catalog.service import get_meter, list_meters, put_meter

router = APIRouter(prefix="/v1/meters", tags=["Meters"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        **creates(MeterDocument, "The same meter stands already."),
        **WRITE,
    },
    openapi_extra=body("MeterBody"),
    summary="Create a meter",
)
def create_meter(write: JsonWrite) -> Response:
    """A meter never changes: the same definition again is fine, another under its key is a conflict."""
    services = write.services

    def effect() -> Answer:
        meter, outcome = put_meter(services.books, write.tenant_id, write.body, services.now())
        return created(outcome, meter_json(meter))

    return write.once(effect)


@router.get("", response_model=None, responses={200: {"model": MeterPage}, **READ}, summary="List meters")
def list_all_meters(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> Response:
    """In order of their keys."""
    after = read_cursor(query.cursor, "meters")
    items = list_meters(services.books, tenant_id, after, query.limit + 1)
    return found_page(items, query.limit, "meters", lambda meter: meter.key, meter_json)


@router.get(
    "/{key}",
    response_model=None,
    responses={200: {"model": MeterDocument}, **READ_ONE},
    summary="Get a meter",
)
def get_one_meter(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """A meter by its key."""
    return found(meter_json(get_meter(services.books, tenant_id, key)))
