"""Use cases of corrections below zero: given back at once by a credit note, where the tenant or somebody asks for it.

What usage that was voided or replaced takes off an issued invoice is on the next invoice of its subscription, unless
the tenant's policy says `credit_note`, or somebody corrects an invoice by its number. Then a credit note against that
very invoice gives it back, and what it gave back is no longer a difference: no invoice carries it again.
"""

from datetime import datetime
from typing import Any

from farthing.db import Books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.due import parted
from farthing.invoicing.late import correcting_store as rows
from farthing.invoicing.late.giving_back import CREDIT_NOTE, POLICIES, give_back
from farthing.invoicing.service import no_invoice, subscribed_by
from farthing.kernel.errors import NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.reading import Faults, Fields, parse_choice, shown
from farthing.usage.later import BilledTime, later_effects
from farthing.usage.service import prepare_usage


def correct_at_once(
    books: Books, store: EventStore, tenant_id: int, now: datetime, *, number: str | None = None
) -> list[str]:
    """Give back what is below zero of corrections: of one invoice, or of all that have one; the new credit notes.

    Asked again, nothing more is given back. Raises NotFound `invoice_not_found`; what usage raises.
    """
    with books.read_only(tenant_id) as conn:
        if number is None:
            until, customer_ids = rows.select_last_period_end(conn, tenant_id), None
        else:
            invoice = rows.select_invoice(conn, tenant_id, number)
            if invoice is None:
                raise no_invoice(number)
            until, customer_ids = invoice["until"], [invoice["customer_id"]]
    if until is None:
        return []
    prepare_usage(books, store, tenant_id, now)
    billed = subscribed_by(books, tenant_id, until, customer_ids)
    with books.read_only(tenant_id) as conn:
        issued = invoice_rows.select_issued(conn, tenant_id)
    _, standing = parted(billed.due(until), issued)
    return give_back(books, store, tenant_id, standing, billed.terms, now, number=number)


def keep_corrected(books: Books, store: EventStore, tenant_id: int, now: datetime) -> list[str]:
    """What the engine does by itself: give back at once, for a tenant whose policy that is; the new credit notes."""
    if get_policy(books, tenant_id)["below_zero"] != CREDIT_NOTE:
        return []
    return correct_at_once(books, store, tenant_id, now)


def get_policy(books: Books, tenant_id: int) -> dict[str, Any]:
    """What becomes of corrections below zero: `next_invoice` or `credit_note`."""
    with books.read_only(tenant_id) as conn:
        return {"below_zero": rows.select_policy(conn, tenant_id)}


def put_policy(books: Books, tenant_id: int, raw: object) -> dict[str, Any]:
    """From now on: `{"below_zero": "credit_note"}`. Raises InvalidInput `invalid_correction_policy`."""
    faults = Faults("invalid_correction_policy")
    fields = Fields(raw, "", faults)
    below_zero = fields.required(
        "below_zero", lambda value, at: parse_choice(value, at, POLICIES, code="invalid_correction_policy")
    )
    fields.refuse_unknown()
    faults.refuse()
    with books.transaction(tenant_id) as conn:
        rows.update_policy(conn, tenant_id, below_zero)
    return {"below_zero": below_zero}


def effects_behind(books: Books, store: EventStore, tenant_id: int, number: str, most: int) -> dict[str, Any]:
    """The events behind a credit note that corrects: those that came to the invoice's period late, or were voided.

    Raises NotFound `credit_note_not_found`, `not_a_correction`; Corrupt `segment_damaged`.
    """
    with books.read_only(tenant_id) as conn:
        found = rows.select_given_back(conn, tenant_id, number)
        if found is None:
            if not rows.is_credit_note(conn, tenant_id, number):
                raise NotFound("credit_note_not_found", f"there is no credit note {shown(number)}")
            raise NotFound("not_a_correction", f"{number} gives back what somebody asked for, not late usage")
        billed = BilledTime(
            0, found["customer_id"], found["period_start"], found["period_end"], found["since"]
        )
        effects = later_effects(store, conn, tenant_id, [billed], most + 1)
    return {
        "credit_note": number,
        "invoice": found["invoice"],
        "since": format_instant(found["since"]),
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
            if one.known_at <= found["issued_at"]
        ],
        "more": len(effects) > most,
    }
