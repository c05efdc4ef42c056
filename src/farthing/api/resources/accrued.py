"""Accrued spend, and when it is charged."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.accrued import AccruedPage, CollectionDocument
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ_ONE,
    WRITE_ONE,
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    body,
    found,
    found_page,
)
from farthing.customers.terms.service import get_collection, set_collection
from farthing.invoicing.accrued.service import list_accrued
from farthing.kernel.reading import Faults, Fields

router = APIRouter(tags=["Pay as you go"])


class AccruedQuery(PageQuery):
    """Which page of accrued spend."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@router.get(
    "/v1/accrued",
    response_model=None,
    responses={200: {"model": AccruedPage}, **READ_ONE},
    summary="List accrued spend",
)
def list_all_accrued(
    tenant_id: TenantId, services: House, query: Annotated[AccruedQuery, Query()]
) -> Response:
    """What open periods come to now, in order of subscription, computed when it is asked for."""
    return _page(tenant_id, services, query, query.customer)


@router.get(
    "/v1/customers/{key}/accrued",
    response_model=None,
    responses={200: {"model": AccruedPage}, **READ_ONE},
    summary="Accrued spend of a customer",
)
def accrued_of_customer(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """Of each of the customer's subscriptions that is in a period now."""
    return _page(tenant_id, services, query, key)


def _page(tenant_id: int, services: House, query: PageQuery, customer: str | None) -> Response:
    after = read_cursor(query.cursor, "accrued")
    items = list_accrued(
        services.books, services.store, tenant_id, services.now(), after, query.limit + 1, customer
    )
    return found_page(
        items, query.limit, "accrued", lambda item: str(item["subscription"]), lambda item: item
    )


@router.get(
    "/v1/subscriptions/{key}/collection",
    response_model=None,
    responses={200: {"model": CollectionDocument}, **READ_ONE},
    summary="When a subscription is charged",
)
def get_terms_of_collection(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """Its own terms where it has any, else those of its plan."""
    return found(get_collection(services.books, tenant_id, key, services.now()))


@router.put(
    "/v1/subscriptions/{key}/collection",
    response_model=None,
    responses={200: {"model": CollectionDocument}, **WRITE_ONE},
    openapi_extra=body("CollectionBody"),
    summary="Say when a subscription is charged",
)
def put_terms_of_collection(key: PathText, write: JsonWrite) -> Response:
    """In place of what its plan says, from now on."""
    services = write.services
    faults = Faults("invalid_collection")
    Fields(write.body, "", faults)  # null would take the terms away, which DELETE is for
    faults.refuse()

    def effect() -> Answer:
        said, _ = set_collection(services.books, write.tenant_id, key, write.body, services.now())
        return Answer(200, said)

    return write.once(effect)


@router.delete(
    "/v1/subscriptions/{key}/collection",
    response_model=None,
    responses={200: {"model": CollectionDocument}, **WRITE_ONE},
    summary="Charge a subscription as its plan says",
)
def delete_terms_of_collection(key: PathText, write: BodilessWrite) -> Response:
    """Its own terms are taken away; the answer is what holds now."""
    services = write.services

    def effect() -> Answer:
        said, _ = set_collection(services.books, write.tenant_id, key, None, services.now())
        return Answer(200, said)

    return write.once(effect)
