"""What customers owe and have to their credit."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.credit import CreditPage, CustomerBalanceDocument
from farthing.api.paging import read_cursor
from farthing.api.routes import shows
from farthing.api.web import House, PageQuery, PathText, TenantId, page_json
from farthing.payments.credit import customer_balance, list_credits

router = APIRouter(prefix="/v1", tags=["Payments"])


@shows(router, "/customers/{key}/balance", CustomerBalanceDocument, "Get the balance of a customer")
def get_balance(key: PathText, tenant_id: TenantId, services: House) -> object:
    """What is open, what stands to its credit and where that comes from; credit pays what is oldest by itself."""
    return {"customer": key, "balances": customer_balance(services.books, tenant_id, key)}


class CreditQuery(PageQuery):
    """Which page of the credits."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@shows(router, "/credits", CreditPage, "List credits")
def list_all(tenant_id: TenantId, services: House, query: Annotated[CreditQuery, Query()]) -> object:
    """Credit that no payment brought, used up or not, and what it paid. Payments say theirs themselves."""
    after = int(read_cursor(query.cursor, "credits", numeric=True) or 0)
    items = list_credits(services.books, tenant_id, after, query.limit + 1, query.customer)
    return page_json(items, query.limit, "credits", lambda one: str(one[0]), lambda one: one[1])
