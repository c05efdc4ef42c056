"""Quarantine: events that were accepted and are not counted, with their bytes and the reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from farthing.api.documents.shapes import QuarantinedEvent, QuarantinePage, QuarantineResolved
from farthing.api.paging import read_cursor
from farthing.api.routes import changes, shows
from farthing.api.web import (
    BodilessWrite,
    House,
    PageQuery,
    TenantId,
    page_json,
)
from farthing.events.resolve import drop, resend_one
from farthing.events.service import quarantined, quarantined_event
from farthing.kernel.instant import format_instant

ID_MAX = 2**63 - 1

QuarantineId = Annotated[int, Path(ge=1, le=ID_MAX)]

router = APIRouter(prefix="/v1/quarantine", tags=["Quarantine"])


class QuarantineQuery(PageQuery):
    """Which page of the quarantine."""

    reason: str | None = Field(None, max_length=256, description="Only this reason, such as `conflict`.")
    resolved: bool = Field(
        False, description="The ones that were retried or dropped, in place of the open ones."
    )


@shows(router, "", QuarantinePage, "List quarantined events")
def list_quarantined(
    tenant_id: TenantId, services: House, query: Annotated[QuarantineQuery, Query()]
) -> object:
    """Open ones, oldest first."""
    after = read_cursor(query.cursor, "quarantine", numeric=True) or "0"
    items = quarantined(
        services.books,
        tenant_id,
        reason=query.reason,
        resolved=query.resolved,
        after=int(after),
        limit=query.limit + 1,
    )
    return page_json(items, query.limit, "quarantine", lambda row: str(row["quarantine_id"]), _document)


@changes(
    router, "POST", "/{quarantine_id}/retry", QuarantineResolved, "Retry a quarantined event", status=202
)
def retry_quarantined(quarantine_id: QuarantineId, write: BodilessWrite) -> object:
    """Its bytes are on disk once more, and the event is closed as `retried` when they are sealed.

    For an event that has to be corrected, send the corrected one to `/v1/events` and drop this one.
    """
    services = write.services
    resend_one(services.books, write.tenant_id, services.door.log, quarantine_id, services.now())
    return {"quarantine_id": quarantine_id, "status": "accepted"}


@changes(router, "POST", "/{quarantine_id}/drop", QuarantineResolved, "Drop a quarantined event")
def drop_quarantined(quarantine_id: QuarantineId, write: BodilessWrite) -> object:
    """It is not to be counted, and stays to be seen. Dropping it again changes nothing."""
    services = write.services
    drop(services.books, write.tenant_id, [quarantine_id], services.now())
    return {"quarantine_id": quarantine_id, "status": "dropped"}


@shows(router, "/{quarantine_id}", QuarantinedEvent, "Get a quarantined event")
def get_quarantined(quarantine_id: QuarantineId, tenant_id: TenantId, services: House) -> object:
    """One quarantined event, with its bytes."""
    return _document(quarantined_event(services.books, tenant_id, quarantine_id))


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "quarantine_id": row["quarantine_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "origin": row["origin"],
        "received_at": format_instant(row["received_at"]),
        "resolution": row["resolution"],
        "resolved_at": None if row["resolved_at"] is None else format_instant(row["resolved_at"]),
        "raw": bytes(row["raw"]).decode("utf-8", "replace"),
    }
