"""Spending limits: how much may be authorised in each period."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from farthing.api.documents.authorization import SpendingLimitDocument, SpendingLimitPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.web import (
    READ_ONE,
    WRITE_ONE,
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    TenantId,
    body,
    created,
    creates,
    found_page,
)
from farthing.wallets.holds.content import limit_json
from farthing.wallets.holds.lookup import list_limits
from farthing.wallets.holds.model import SpendingLimit, Spent
from farthing.wallets.holds.service import delete_limit, put_limit

ID_MAX = 2**63 - 1

router = APIRouter(prefix="/v1/spending-limits", tags=["Authorizations"])


class LimitsQuery(PageQuery):
    """Whose limits."""

    customer: str | None = Field(None, max_length=256, description="Only this customer's.")


@router.put(
    "",
    response_model=None,
    responses={
        **creates(SpendingLimitDocument, "It stood already and has this amount now."),
        **WRITE_ONE,
    },
    openapi_extra=body("SpendingLimitBody"),
    summary="Set a spending limit",
)
def put(write: JsonWrite) -> Response:
    """One of the same customer, level, name and interval is replaced."""
    services = write.services

    def effect() -> Answer:
        limit, spent, outcome = put_limit(services.books, write.tenant_id, write.body, services.now())
        return created(outcome, limit_json(limit, spent))

    return write.once(effect)


@router.get(
    "",
    response_model=None,
    responses={200: {"model": SpendingLimitPage}, **READ_ONE},
    summary="List spending limits",
)
def list_all_limits(tenant_id: TenantId, services: House, query: Annotated[LimitsQuery, Query()]) -> Response:
    """In the order in which they were set first, each with what counts against it now."""
    after = int(read_cursor(query.cursor, "spending-limits", numeric=True) or 0)
    items = list_limits(services.books, tenant_id, after, query.limit + 1, services.now(), query.customer)
    return found_page(items, query.limit, "spending-limits", lambda item: str(item[0].limit_id), _document)


@router.delete(
    "/{limit_id}",
    response_model=None,
    responses={200: {"model": SpendingLimitDocument, "description": "What was removed."}, **WRITE_ONE},
    summary="Remove a spending limit",
)
def remove(limit_id: Annotated[int, Path(ge=1, le=ID_MAX)], write: BodilessWrite) -> Response:
    """From now on it bounds nothing; what counted against it stays counted."""
    services = write.services

    def effect() -> Answer:
        removed = delete_limit(services.books, write.tenant_id, limit_id, services.now())
        return Answer(200, limit_json(*removed))

    return write.once(effect)


def _document(item: tuple[SpendingLimit, Spent]) -> dict[str, object]:
    return limit_json(*item)
