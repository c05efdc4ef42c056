"""Later events of an invoice: what came to its period, or was voided, after it was issued."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.event import LaterEventsDocument
from farthing.api.routes import shows
from farthing.api.web import House, PathText, QueryDocument, TenantId
from farthing.invoicing.late.later import effects_after_invoice

LATER_SHOWN_MAX = 1_000

router = APIRouter(prefix="/v1/invoices", tags=["Events"])


class LaterQuery(QueryDocument):
    """How many."""

    limit: int = Field(100, ge=1, le=LATER_SHOWN_MAX, description="At most so many events.")


@shows(router, "/{number}/later-events", LaterEventsDocument, "Get later events of an invoice")
def get_later_events(
    number: PathText, tenant_id: TenantId, services: House, query: Annotated[LaterQuery, Query()]
) -> object:
    """Events of the invoice's period that were received, or voided, after it was issued. The invoice stands."""
    return effects_after_invoice(services.books, services.store, tenant_id, number, query.limit)
