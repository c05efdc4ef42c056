"""Customers: who is billed, and the subjects of events that mean them."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from farthing.api.documents.shapes import CustomerDocument, CustomerPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ,
    READ_ONE,
    WRITE,
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
from farthing.customers.content import customer_json
from farthing.customers.service import (
    add_alias,
    create_customer,
    get_customer,
    list_customers,
    remove_alias,
    update_customer,
)
from farthing.kernel.reading import Faults, Fields, parse_subject

router = APIRouter(prefix="/v1/customers", tags=["Customers"])


@router.post(
    "",
    status_code=201,
    response_model=None,
    responses={
        **creates(CustomerDocument, "The same customer stands already."),
        **WRITE,
    },
    openapi_extra=body("CustomerBody"),
    summary="Create a customer",
)
def create(write: JsonWrite) -> Response:
    """Events whose subject is the key or an alias are this customer's, also those that came before."""
    services = write.services

    def effect() -> Answer:
        customer, outcome = create_customer(services.books, write.tenant_id, write.body, services.now())
        return created(outcome, customer_json(customer))

    return write.once(effect)


@router.get(
    "", response_model=None, responses={200: {"model": CustomerPage}, **READ}, summary="List customers"
)
def list_all_customers(
    tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]
) -> Response:
    """In order of their keys."""
    after = read_cursor(query.cursor, "customers")
    items = list_customers(services.books, tenant_id, after, query.limit + 1)
    return found_page(items, query.limit, "customers", lambda customer: customer.key, customer_json)


@router.get(
    "/{key}",
    response_model=None,
    responses={200: {"model": CustomerDocument}, **READ_ONE},
    summary="Get a customer",
)
def get_one_customer(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """A customer by its key."""
    return found(customer_json(get_customer(services.books, tenant_id, key)))


@router.patch(
    "/{key}",
    response_model=None,
    responses={200: {"model": CustomerDocument}, **WRITE_ONE},
    openapi_extra=body("CustomerPatch"),
    summary="Change a customer",
)
def update(key: PathText, write: JsonWrite) -> Response:
    """Fields that are not named stay; null clears one. The key never changes."""
    services = write.services

    def effect() -> Answer:
        customer, _ = update_customer(services.books, write.tenant_id, key, write.body, services.now())
        return Answer(200, customer_json(customer))

    return write.once(effect)


@router.post(
    "/{key}/aliases",
    response_model=None,
    responses={200: {"model": CustomerDocument}, **WRITE_ONE},
    openapi_extra=body("AliasBody"),
    summary="Add an alias",
)
def add_one_alias(key: PathText, write: JsonWrite) -> Response:
    """From now on events with this subject are the customer's, also those that came before."""
    services = write.services
    alias = _parse_alias(write.body)

    def effect() -> Answer:
        customer, _ = add_alias(services.books, write.tenant_id, key, alias, services.now())
        return Answer(200, customer_json(customer))

    return write.once(effect)


@router.delete(
    "/{key}/aliases/{alias}",
    response_model=None,
    responses={200: {"model": CustomerDocument}, **WRITE_ONE},
    summary="Remove an alias",
)
def remove_one_alias(key: PathText, alias: PathText, write: BodilessWrite) -> Response:
    """From now on events with this subject are nobody's."""
    services = write.services

    def effect() -> Answer:
        customer = remove_alias(services.books, write.tenant_id, key, alias, services.now())
        return Answer(200, customer_json(customer))

    return write.once(effect)


def _parse_alias(raw: object) -> str:
    faults = Faults("invalid_alias")
    fields = Fields(raw, "", faults)
    alias = fields.required("alias", parse_subject)
    fields.refuse_unknown()
    faults.refuse()
    return alias
