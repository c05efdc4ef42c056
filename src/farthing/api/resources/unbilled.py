"""Unbilled: accepted events that nobody is billed for, and why."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.event import UnbilledDocument
from farthing.api.routes import shows
from farthing.api.web import House, QueryDocument, TenantId
from farthing.invoicing.explaining.unbilled import GROUPS_MAX, unbilled
from farthing.kernel.instant import parse_instant
from farthing.kernel.reading import Faults, Fields

router = APIRouter(prefix="/v1/unbilled", tags=["Events"])


class UnbilledQuery(QueryDocument):
    """Which events."""

    from_: str | None = Field(
        None,
        alias="from",
        max_length=64,
        json_schema_extra={"format": "date-time"},
        description="First instant in.",
    )
    to: str | None = Field(
        None, max_length=64, json_schema_extra={"format": "date-time"}, description="First instant out."
    )
    limit: int = Field(20, ge=1, le=GROUPS_MAX, description="Groups shown, the largest first.")


@shows(router, "", UnbilledDocument, "Get unbilled events")
def get_unbilled(tenant_id: TenantId, services: House, query: Annotated[UnbilledQuery, Query()]) -> object:
    """Accepted events that nobody is billed for, by cause, and what they would make."""
    faults = Faults("invalid_event_query")
    fields = Fields(query.model_dump(by_alias=True), "", faults)
    start = fields.optional("from", parse_instant, None)
    end = fields.optional("to", parse_instant, None)
    faults.refuse()
    return unbilled(services.books, services.store, tenant_id, start, end, query.limit, services.now())
