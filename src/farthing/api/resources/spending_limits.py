"""Spending limits: how much may be authorised in each period."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from farthing.api.documents.authorization import SpendingLimitDocument, SpendingLimitPage
from farthing.api.idempotency import Answer
from farthing.api.paging import read_cursor
from farthing.api.routes import makes, shows
from farthing.api.web import (
    READ_ONE,
    WRITE_ONE,
    BodilessWrite,
    House,
    JsonWrite,
    PageQuery,
    TenantId,
    created,
    page_json,
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


@makes(
    router,
    "",
    SpendingLimitDocument,
    "SpendingLimitBody",
    "Set a spending limit",
    standing="It stood already and has this amount now.",
    method="PUT",
    refused=WRITE_ONE,
)
def put(write: JsonWrite) -> Answer:
    """One of the same customer, level, name and interval is replaced."""
    services = write.services
    limit, spent, outcome = put_limit(services.books, write.tenant_id, write.body, services.now())
    return created(outcome, limit_json(limit, spent))


@shows(router, "", SpendingLimitPage, "List spending limits", refused=READ_ONE)
def list_all_limits(tenant_id: TenantId, services: House, query: Annotated[LimitsQuery, Query()]) -> object:
    """In the order in which they were set first, each with what counts against it now."""
    after = int(read_cursor(query.cursor, "spending-limits", numeric=True) or 0)
    items = list_limits(services.books, tenant_id, after, query.limit + 1, services.now(), query.customer)
    return page_json(items, query.limit, "spending-limits", lambda item: str(item[0].limit_id), _document)


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
