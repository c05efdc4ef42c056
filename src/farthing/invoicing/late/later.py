"""Use case: what late and corrected events did to the period of an invoice after it was issued. The invoice stands."""

import json
from typing import Any

from farthing.db import Books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as rows
from farthing.invoicing.model import Reason
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import format_instant, parse_instant
from farthing.kernel.reading import shown
from farthing.usage.later import BilledTime, LaterEffect, later_effects


def effects_after_invoice(
    books: Books, store: EventStore, tenant_id: int, number: str, most: int
) -> dict[str, Any]:
    """The events of the customer that came to the invoice's period after it was issued, or were voided since.

    Only the invoice of a period has usage on it: of the others nothing is told. `more` says that there are more.
    Raises NotFound `invoice_not_found`; Corrupt `segment_damaged`.
    """
    with books.read_only(tenant_id) as conn:
        found = rows.select_document(conn, tenant_id, number)
        if found is None:
            raise NotFound("invoice_not_found", f"there is no invoice {shown(number)}")
        document: dict[str, Any] = json.loads(found["document"])
        effects: list[LaterEffect] = []
        if document["reason"] == Reason.PERIOD.value:
            start, end, since = (
                parse_instant(text, "")
                for text in (document["period"]["start"], document["period"]["end"], document["issued_at"])
            )
            billed = BilledTime(0, found["customer_id"], start, end, since)
            effects = later_effects(store, conn, tenant_id, [billed], most + 1)
    return {
        "invoice": number,
        "customer": document["customer"],
        "period": document["period"],
        "issued_at": document["issued_at"],
        "events": [
            {
                "effect": one.effect,
                "source": one.source,
                "id": one.event_id,
                "type": one.event_type,
                "subject": one.subject,
                "time": format_instant(one.event_time),
                "known_at": format_instant(one.known_at),
            }
            for one in effects[:most]
        ],
        "more": len(effects) > most,
    }
