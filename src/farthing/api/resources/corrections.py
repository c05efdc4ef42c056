"""Corrections: events that void other ones, or count in their place."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.event import CorrectionAccepted, CorrectionPage
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.web import (
    WRITE_ONE,
    House,
    JsonWrite,
    PageQuery,
    TenantId,
    page_json,
)
from farthing.events.correcting.service import INVALID_CORRECTION, list_corrections, replace_event, void_event
from farthing.invoicing.explaining.tracing import correction_document
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.reading import Faults, Fields, kind, parse_text

router = APIRouter(prefix="/v1/corrections", tags=["Events"])


class CorrectionQuery(PageQuery):
    """Which corrections."""

    customer: str | None = Field(None, max_length=256, description="Of this customer's events.")


@changes(
    router,
    "POST",
    "",
    CorrectionAccepted,
    "Correct an event",
    body_name="CorrectionBody",
    status=202,
    refused=WRITE_ONE,
)
def correct_event(write: JsonWrite) -> object:
    """Void it, or put another one in its place. It stays where it is, and its id stays taken."""
    faults = Faults(INVALID_CORRECTION)
    fields = Fields(write.body, "", faults)
    source = fields.required("source", parse_text)
    event_id = fields.required("id", parse_text)
    reason = fields.optional("reason", parse_text, "")
    replacement = fields.optional("replacement", _parse_replacement, None)
    fields.refuse_unknown()
    faults.refuse()
    services = write.services
    books, store, log = services.books, services.store, services.door.log
    if replacement is None:
        sent = void_event(books, store, log, write.tenant_id, source, event_id, reason, services.now())
    else:
        sent = replace_event(
            books, store, log, write.tenant_id, source, event_id, reason, replacement, services.now()
        )
    return {
        "status": "accepted",
        "kind": sent.kind,
        "by": {"source": sent.source, "id": sent.event_id},
        "corrects": {"source": sent.target_source, "id": sent.target_id},
    }


def _parse_replacement(raw: object, path: str) -> dict[str, object]:
    if not isinstance(raw, dict):
        raise InvalidInput.of(INVALID_CORRECTION, [Fault(path, f"must be an object, not {kind(raw)}")])
    return raw


@shows(router, "", CorrectionPage, "List corrections")
def list_some(tenant_id: TenantId, services: House, query: Annotated[CorrectionQuery, Query()]) -> object:
    """In the order in which they were sealed: all, or those of a customer's events."""
    after = int(read_cursor(query.cursor, "corrections", numeric=True) or 0)
    items = list_corrections(services.books, tenant_id, after, query.limit + 1, query.customer)
    return page_json(
        items, query.limit, "corrections", lambda row: str(row["correction_id"]), correction_document
    )
