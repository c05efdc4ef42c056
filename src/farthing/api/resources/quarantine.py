"""Quarantine: events that were accepted and are not counted, with their bytes and the reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from farthing.api.documents import QuarantinedEvent, QuarantinePage
from farthing.api.paging import read_cursor
from farthing.api.web import READ, READ_ONE, House, PageQuery, TenantId, found, found_page
from farthing.events.service import quarantined, quarantined_event
from farthing.kernel.instant import format_instant

ID_MAX = 2**63 - 1

router = APIRouter(prefix="/v1/quarantine", tags=["Quarantine"])


class QuarantineQuery(PageQuery):
    """Which page of the quarantine."""

    reason: str | None = Field(None, max_length=256, description="Only this reason, such as `conflict`.")


@router.get(
    "",
    response_model=None,
    responses={200: {"model": QuarantinePage}, **READ},
    summary="List quarantined events",
)
def list_quarantined(
    tenant_id: TenantId, services: House, query: Annotated[QuarantineQuery, Query()]
) -> Response:
    """Oldest first."""
    after = read_cursor(query.cursor, "quarantine", numeric=True) or "0"
    items = quarantined(
        services.books, tenant_id, reason=query.reason, after=int(after), limit=query.limit + 1
    )
    return found_page(items, query.limit, "quarantine", lambda row: str(row["quarantine_id"]), _document)


@router.get(
    "/{quarantine_id}",
    response_model=None,
    responses={200: {"model": QuarantinedEvent}, **READ_ONE},
    summary="Get a quarantined event",
)
def get_quarantined(
    quarantine_id: Annotated[int, Path(ge=1, le=ID_MAX)], tenant_id: TenantId, services: House
) -> Response:
    """One quarantined event, with its bytes."""
    return found(_document(quarantined_event(services.books, tenant_id, quarantine_id)))


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "quarantine_id": row["quarantine_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "origin": row["origin"],
        "received_at": format_instant(row["received_at"]),
        "raw": bytes(row["raw"]).decode("utf-8", "replace"),
    }
