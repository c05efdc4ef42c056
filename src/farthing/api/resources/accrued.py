"""Accrued spend, and when it is charged."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.accrued import AccruedPage, CollectionDocument
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.web import (
    READ_ONE,
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    page_json,
)
from farthing.customers.terms.service import get_collection, set_collection
from farthing.invoicing.accrued.service import list_accrued
from farthing.kernel.reading import Faults, Fields

router = APIRouter(tags=["Pay as you go"])


class AccruedQuery(PageQuery):
    """Which page of accrued spend."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@shows(router, "/v1/accrued", AccruedPage, "List accrued spend", refused=READ_ONE)
def list_all_accrued(tenant_id: TenantId, services: House, query: Annotated[AccruedQuery, Query()]) -> object:
    """What open periods come to now, in order of subscription, computed when it is asked for."""
    return _page(tenant_id, services, query, query.customer)


@shows(router, "/v1/customers/{key}/accrued", AccruedPage, "Accrued spend of a customer")
def accrued_of_customer(
    key: PathText, tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> object:
    """Of each of the customer's subscriptions that is in a period now."""
    return _page(tenant_id, services, query, key)


def _page(tenant_id: int, services: House, query: PageQuery, customer: str | None) -> object:
    after = read_cursor(query.cursor, "accrued")
    items = list_accrued(
        services.books, services.store, tenant_id, services.now(), after, query.limit + 1, customer
    )
    return page_json(items, query.limit, "accrued", lambda item: str(item["subscription"]), lambda item: item)


@shows(router, "/v1/subscriptions/{key}/collection", CollectionDocument, "When a subscription is charged")
def get_terms_of_collection(key: PathText, tenant_id: TenantId, services: House) -> object:
    """Its own terms where it has any, else those of its plan."""
    return get_collection(services.books, tenant_id, key, services.now())


@changes(
    router,
    "PUT",
    "/v1/subscriptions/{key}/collection",
    CollectionDocument,
    "Say when a subscription is charged",
    body_name="CollectionBody",
)
def put_terms_of_collection(key: PathText, write: JsonWrite) -> object:
    """In place of what its plan says, from now on."""
    services = write.services
    faults = Faults("invalid_collection")
    Fields(write.body, "", faults)  # null would take the terms away, which DELETE is for
    faults.refuse()
    said, _ = set_collection(services.books, write.tenant_id, key, write.body, services.now())
    return said


@changes(
    router,
    "DELETE",
    "/v1/subscriptions/{key}/collection",
    CollectionDocument,
    "Charge a subscription as its plan says",
)
def delete_terms_of_collection(key: PathText, write: BodilessWrite) -> object:
    """Its own terms are taken away; the answer is what holds now."""
    services = write.services
    said, _ = set_collection(services.books, write.tenant_id, key, None, services.now())
    return said
