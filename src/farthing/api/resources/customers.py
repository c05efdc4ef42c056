"""Customers: who is billed, and the subjects of events that mean them."""

from typing import Annotated

from fastapi import APIRouter, Query

from farthing.api.documents.shapes import CustomerDocument, CustomerPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, makes, shows
from farthing.api.web import (
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    PathText,
    TenantId,
    created,
    page_json,
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


@makes(
    router,
    "",
    CustomerDocument,
    "CustomerBody",
    "Create a customer",
    standing="The same customer stands already.",
)
def create(write: JsonWrite) -> Answer:
    """Events whose subject is the key or an alias are this customer's, also those that came before."""
    services = write.services
    customer, outcome = create_customer(services.books, write.tenant_id, write.body, services.now())
    return created(outcome, customer_json(customer))


@shows(router, "", CustomerPage, "List customers")
def list_all_customers(tenant_id: TenantId, services: House, query: Annotated[PageQuery, Query()]) -> object:
    """In order of their keys."""
    after = read_cursor(query.cursor, "customers")
    items = list_customers(services.books, tenant_id, after, query.limit + 1)
    return page_json(items, query.limit, "customers", lambda customer: customer.key, customer_json)


@shows(router, "/{key}", CustomerDocument, "Get a customer")
def get_one_customer(key: PathText, tenant_id: TenantId, services: House) -> object:
    """A customer by its key."""
    return customer_json(get_customer(services.books, tenant_id, key))


@changes(router, "PATCH", "/{key}", CustomerDocument, "Change a customer", body_name="CustomerPatch")
def update(key: PathText, write: JsonWrite) -> object:
    """Fields that are not named stay; null clears one. The key never changes."""
    services = write.services
    customer, _ = update_customer(services.books, write.tenant_id, key, write.body, services.now())
    return customer_json(customer)


@changes(router, "POST", "/{key}/aliases", CustomerDocument, "Add an alias", body_name="AliasBody")
def add_one_alias(key: PathText, write: JsonWrite) -> object:
    """From now on events with this subject are the customer's, also those that came before."""
    services = write.services
    alias = _parse_alias(write.body)
    customer, _ = add_alias(services.books, write.tenant_id, key, alias, services.now())
    return customer_json(customer)


@changes(router, "DELETE", "/{key}/aliases/{alias}", CustomerDocument, "Remove an alias")
def remove_one_alias(key: PathText, alias: PathText, write: BodilessWrite) -> object:
    """From now on events with this subject are nobody's."""
    services = write.services
    customer = remove_alias(services.books, write.tenant_id, key, alias, services.now())
    return customer_json(customer)


def _parse_alias(raw: object) -> str:
    faults = Faults("invalid_alias")
    fields = Fields(raw, "", faults)
    alias = fields.required("alias", parse_subject)
    fields.refuse_unknown()
    faults.refuse()
    return alias
