"""Facts: what happened that the world outside may want to know, for whoever asks again and again."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.shapes import FactPage
from farthing.api.paging import read_cursor
from farthing.api.routes import shows
from farthing.api.web import House, PageQuery, TenantId, page_json
from farthing.db.outbox import fact_document, facts_after

POSITION_MAX = 2**62

router = APIRouter(prefix="/v1/facts", tags=["Facts"])


class FactQuery(PageQuery):
    """Which facts."""

    after: int = Field(
        0,
        ge=0,
        le=POSITION_MAX,
        description="Only those behind this position. Keep the last one you have dealt with.",
    )
    kind: str | None = Field(
        None, max_length=256, description="Only this kind, such as `wallet.low_balance`, or `wallet.*`."
    )


@shows(router, "", FactPage, "List facts")
def list_facts(tenant_id: TenantId, services: House, query: Annotated[FactQuery, Query()]) -> object:
    """In the order of their positions. None is passed over by one who goes on behind the last one it saw."""
    after = int(read_cursor(query.cursor, "facts", numeric=True) or query.after)
    items = facts_after(services.books, tenant_id, after, query.limit + 1, query.kind)
    return page_json(items, query.limit, "facts", lambda one: str(one.position), fact_document)
