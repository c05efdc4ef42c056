"""What is known about a disputed payment, for the answer to the bank, drawn from invoices and the usage log."""

from typing import Any

from farthing.db import Books
from farthing.events.store.duckdb import EventStore
from farthing.invoicing.explaining.service import explain_line
from farthing.invoicing.service import get_invoice
from farthing.kernel.reading import Faults, Fields, parse_choice
from farthing.payments.content import detail_json, dispute_json
from farthing.payments.model import DisputeState
from farthing.payments.money_back.service import get_dispute
from farthing.payments.service import get_payment

LINES_MAX = 100
"""Lines of one invoice that are explained; the others are listed."""

_DECISIONS = (DisputeState.UNDER_REVIEW.value, DisputeState.WON.value, DisputeState.LOST.value)


def evidence_of(books: Books, store: EventStore, tenant_id: int, key: str, events: int) -> dict[str, Any]:
    """The dispute, the payment's whole history, and each invoice that it paid: lines, charges, the first events.

    Raises NotFound `dispute_not_found`.
    """
    dispute = get_dispute(books, tenant_id, key)
    detail = get_payment(books, tenant_id, dispute.payment)
    numbers = dict.fromkeys(row["invoice"] for row in detail.allocations)
    return {
        "dispute": dispute_json(dispute),
        "payment": detail_json(detail),
        "invoices": [_invoice(books, store, tenant_id, number, events) for number in numbers],
    }


def _invoice(books: Books, store: EventStore, tenant_id: int, number: str, events: int) -> dict[str, Any]:
    document = get_invoice(books, tenant_id, number)
    lines = []
    for line in document["lines"]:
        said = {
            name: line[name]
            for name in ("line", "description", "service_period", "quantity", "amount", "charges")
        }
        if line["line"] <= LINES_MAX and line["meter"] is not None:
            explained = explain_line(books, store, tenant_id, number, line["line"], events)
            said["events_total"] = explained.get("events_total")
            said["events"] = explained.get("events")
        lines.append(said)
    return {
        "number": number,
        "issued_at": document["issued_at"],
        "total": document["total"],
        "bill_to": document["bill_to"],
        "lines": lines,
    }


def parse_decision(raw: object) -> DisputeState:
    """`{"state": "won"}`. Raises InvalidInput `invalid_dispute`."""
    faults = Faults("invalid_dispute")
    fields = Fields(raw, "", faults)
    state = fields.required(
        "state", lambda value, path: parse_choice(value, path, _DECISIONS, code="invalid_dispute")
    )
    fields.refuse_unknown()
    faults.refuse()
    return DisputeState(state)
