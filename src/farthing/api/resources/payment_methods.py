"""How customers pay by themselves."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.payment import PaymentMethodDocument, PaymentMethodPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE_ONE,
    BodilessWrite,
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
from farthing.payments.content import method_json
from farthing.payments.service import get_method, list_methods, put_method, remove_method

router = APIRouter(prefix="/v1/payment-methods", tags=["Payments"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        **creates(PaymentMethodDocument, "The same one stands already."),
        **WRITE_ONE,
    },
    openapi_extra=body("PaymentMethodBody"),
    summary="Create a payment method",
)
def create(write: JsonWrite) -> Response:
    """It is looked up at its gateway, and is the one that is used from now on unless `default` is false."""
    services = write.services

    def effect() -> Answer:
        gateways = services.gateways_of(write.tenant_id)
        method, outcome = put_method(services.books, write.tenant_id, write.body, gateways, services.now())
        return created(outcome, method_json(method))

    return write.once(effect)


class MethodQuery(PageQuery):
    """Which page of the payment methods."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@router.get(
    "",
    response_model=None,
    responses={200: {"model": PaymentMethodPage}, **READ},
    summary="List payment methods",
)
def list_some(tenant_id: TenantId, services: House, query: Annotated[MethodQuery, Query()]) -> Response:
    """In the order of their keys."""
    after = read_cursor(query.cursor, "payment_methods")
    items = list_methods(services.books, tenant_id, after, query.limit + 1, query.customer)
    return found_page(items, query.limit, "payment_methods", lambda method: method.key, method_json)


@router.get(
    "/{key}",
    response_model=None,
    responses={200: {"model": PaymentMethodDocument}, **READ_ONE},
    summary="Get a payment method",
)
def get_one(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """One payment method."""
    return found(method_json(get_method(services.books, tenant_id, key)))


@router.delete(
    "/{key}",
    response_model=None,
    responses={200: {"model": PaymentMethodDocument}, **WRITE_ONE},
    summary="Remove a payment method",
)
def remove(key: PathText, write: BodilessWrite) -> Response:
    """It is used no more; what was paid by it stays."""
    services = write.services

    def effect() -> Answer:
        removed = remove_method(services.books, write.tenant_id, key, services.now())
        return Answer(200, method_json(removed))

    return write.once(effect)
