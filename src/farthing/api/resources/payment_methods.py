"""How customers pay by themselves."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.payment import PaymentMethodDocument, PaymentMethodPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    WRITE_ONE,
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    page_json,
)
from farthing.payments.content import method_json
from farthing.payments.service import get_method, list_methods, put_method, remove_method

router = APIRouter(prefix="/v1/payment-methods", tags=["Payments"])


@makes(
    router,
    "",
    PaymentMethodDocument,
    "PaymentMethodBody",
    "Create a payment method",
    standing="The same one stands already.",
    refused=WRITE_ONE,
)
def create(write: JsonWrite) -> Answer:
    """It is looked up at its gateway, and is the one that is used from now on unless `default` is false."""
    services = write.services
    gateways = services.gateways_of(write.tenant_id)
    method, outcome = put_method(services.books, write.tenant_id, write.body, gateways, services.now())
    return created(outcome, method_json(method))


class MethodQuery(PageQuery):
    """Which page of the payment methods."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@shows(router, "", PaymentMethodPage, "List payment methods")
def list_some(tenant_id: TenantId, services: House, query: Annotated[MethodQuery, Query()]) -> object:
    """In the order of their keys."""
    after = read_cursor(query.cursor, "payment_methods")
    items = list_methods(services.books, tenant_id, after, query.limit + 1, query.customer)
    return page_json(items, query.limit, "payment_methods", lambda method: method.key, method_json)


@shows(router, "/{key}", PaymentMethodDocument, "Get a payment method")
def get_one(key: PathText, tenant_id: TenantId, services: House) -> object:
    """One payment method."""
    return method_json(get_method(services.books, tenant_id, key))


@changes(router, "DELETE", "/{key}", PaymentMethodDocument, "Remove a payment method")
def remove(key: PathText, write: BodilessWrite) -> object:
    """It is used no more; what was paid by it stays."""
    services = write.services
    removed = remove_method(services.books, write.tenant_id, key, services.now())
    return method_json(removed)
