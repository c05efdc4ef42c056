"""What customers owe and have to their credit."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from farthing.api.documents.credit import CreditPage, CustomerBalanceDocument
from farthing.api.paging import read_cursor
from farthing.api.web import READ, READ_ONE, House, PageQuery, PathText, TenantId, found, found_page
from farthing.payments.credit import customer_balance, list_credits

router = APIRouter(prefix="/v1", tags=["Payments"])


@router.get(
    "/customers/{key}/balance",
    response_model=None,
    responses={200: {"model": CustomerBalanceDocument}, **READ_ONE},
    summary="Get the balance of a customer",
)
def get_balance(key: PathText, tenant_id: TenantId, services: House) -> Response:
    """What is open, what stands to its credit and where that comes from; credit pays what is oldest by itself."""
    return found({"customer": key, "balances": customer_balance(services.books, tenant_id, key)})


class CreditQuery(PageQuery):
    """Which page of the credits."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@router.get(
    "/credits", response_model=None, responses={200: {"model": CreditPage}, **READ}, summary="List credits"
)
def list_all(tenant_id: TenantId, services: House, query: Annotated[CreditQuery, Query()]) -> Response:
    """Credit that no payment brought, used up or not, and what it paid. Payments say theirs themselves."""
    after = int(read_cursor(query.cursor, "credits", numeric=True) or 0)
    items = list_credits(services.books, tenant_id, after, query.limit + 1, query.customer)
    return found_page(items, query.limit, "credits", lambda one: str(one[0]), lambda one: one[1])
