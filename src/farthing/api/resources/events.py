"""Events that were sent: find them, and see the whole way of one. (Sending them is `api/events_route.py`.)"""

import json
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import Field

from farthing.api.documents.event import EventPage, EventTrace
from farthing.api.paging import read_cursor
from farthing.api.routes import shows
from farthing.api.web import (
    READ_ONE,
    House,
    PageQuery,
    PathText,
    TenantId,
    page_json,
)
from farthing.events.find import FoundEvent
from farthing.invoicing.explaining.tracing import (
    Sought,
    customers_of,
    event_document,
    search_events,
    trace_event,
)
from farthing.kernel.errors import Fault, InvalidInput
from farthing.kernel.instant import parse_instant
from farthing.kernel.reading import Faults, Fields

EVENT_CURSOR_LENGTH_MAX = 4096
"""An event's place holds its source and its id."""

router = APIRouter(prefix="/v1/events", tags=["Events"])


class EventQuery(PageQuery):
    """What events are looked for by."""

    cursor: str | None = Field(
        None,
        max_length=EVENT_CURSOR_LENGTH_MAX,
        description="`next_cursor` of the page before; absent for the first.",
    )
    id: str | None = Field(
        None, max_length=256, description="The id that it was sent with, whatever became of it."
    )
    source: str | None = Field(None, max_length=256, description="The source of the `id`.")
    customer: str | None = Field(
        None, max_length=256, description="Of this customer, by its key and its aliases."
    )
    subject: str | None = Field(None, max_length=256, description="With this subject.")
    type: str | None = Field(None, max_length=256, description="Of this type.")
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


@shows(router, "", EventPage, "List events", refused=READ_ONE)
def list_events(tenant_id: TenantId, services: House, query: Annotated[EventQuery, Query()]) -> object:
    """Counted, voided and waiting ones, the newest first by time; under an `id`, quarantined ones as well."""
    sought = _sought(query)
    events = search_events(
        services.books, services.store, tenant_id, sought, _place(query.cursor), query.limit + 1
    )
    customers = customers_of(services.books, tenant_id, events)
    return page_json(
        events,
        query.limit,
        "events",
        lambda event: json.dumps(event.place),
        lambda event: document_of(event, customers),
    )


def _sought(query: EventQuery) -> Sought:
    faults = Faults("invalid_event_query")
    fields = Fields(query.model_dump(by_alias=True), "", faults)
    start = fields.optional("from", parse_instant, None)
    end = fields.optional("to", parse_instant, None)
    faults.refuse()
    return Sought(query.id, query.source, query.customer, query.subject, query.type, start, end)


def _place(cursor: str | None) -> tuple[int, str, str] | None:
    text = read_cursor(cursor, "events")
    if text is None:
        return None
    try:
        return msgspec.json.decode(text.encode(), type=tuple[int, str, str])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise InvalidInput.of(
            "invalid_cursor", [Fault("cursor", "is not a next_cursor of this list")]
        ) from None


def document_of(event: FoundEvent, customers: dict[str, str]) -> dict[str, Any]:
    """An event in a list; its data as the bytes that were sent."""
    document = event_document(event, customers.get(event.subject or ""))
    return document | {"data": msgspec.Raw(event.data.encode())}


@shows(router, "/{source}/{event_id}", EventTrace, "Trace an event")
def get_event(source: PathText, event_id: PathText, tenant_id: TenantId, services: House) -> object:
    """Its whole way: received, sealed or set aside, counted by which meters, on which bill, at what cost.

    `segments_read` says how many segments had to be read to find it.
    """
    document = trace_event(services.books, services.store, tenant_id, source, event_id, services.now())
    document["data"] = msgspec.Raw(document.pop("data_text").encode())
    return document
