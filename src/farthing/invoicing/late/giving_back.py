"""Credit notes that correct issued invoices at once, each in a transaction of its own.

A correction is told from what stands; a run that bills it, or another process that gives it back, may come in between.
So the credit note is issued under the lock of all issuing, where what was corrected of the invoice must be as it was.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from farthing.customers.terms.model import Terms
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.events.store.duckdb import EventStore
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.credit_notes import store as credit_rows
from farthing.invoicing.credit_notes.content import parse_document
from farthing.invoicing.credit_notes.creditable import creditable_of
from farthing.invoicing.credit_notes.model import CreditWanted
from farthing.invoicing.credit_notes.service import give_credit
from farthing.invoicing.late import correcting_store as rows
from farthing.invoicing.late.at_once import credited_at_once
from farthing.invoicing.late.bills import corrections_of
from farthing.invoicing.late.corrections import InvoiceCorrection
from farthing.invoicing.late.store import select_corrected
from farthing.invoicing.late.terms import corrected_before
from farthing.invoicing.model import Bill
from farthing.kernel.errors import Conflict
from farthing.ledger.service import post

CREDIT_NOTE = "credit_note"
NEXT_INVOICE = "next_invoice"
POLICIES = (NEXT_INVOICE, CREDIT_NOTE)


def give_back_by_policy(
    books: Books,
    store: EventStore,
    tenant_id: int,
    standing: Sequence[Bill],
    terms: Mapping[int, Terms],
    now: datetime,
) -> list[str]:
    """What is below zero of corrections of these bills is given back, where the tenant says so; the credit notes."""
    with books.read_only(tenant_id) as conn:
        if rows.select_policy(conn, tenant_id) != CREDIT_NOTE:
            return []
    return give_back(books, store, tenant_id, standing, terms, now)


def give_back(
    books: Books,
    store: EventStore,
    tenant_id: int,
    standing: Sequence[Bill],
    terms: Mapping[int, Terms],
    now: datetime,
    *,
    number: str | None = None,
) -> list[str]:
    """The numbers of the credit notes that give back what is below zero of these bills, or of one invoice."""
    ids = {bill.subscription.subscription_id for bill in standing}
    found = corrections_of(books, store, tenant_id, standing, ids, terms)
    issued = []
    for one in found:
        if number in (None, one.number) and any(line.amount_exact < 0 for line in one.lines):
            with books.transaction(tenant_id) as conn:
                made = _given_back(conn, tenant_id, one, now)
            if made is not None:
                issued.append(made)
    return issued


def _given_back(
    conn: BooksConnection, tenant_id: int, correction: InvoiceCorrection, now: datetime
) -> str | None:
    invoice_rows.lock_issuing(conn, tenant_id)
    invoice = credit_rows.select_invoice(conn, tenant_id, correction.number)
    assert invoice is not None, "an invoice stays"
    before = corrected_before(select_corrected(conn, tenant_id, [correction.invoice_id]))
    if invoice["voided"] or before.get(correction.invoice_id, {}) != correction.before:
        return None
    given = credit_rows.select_given(conn, tenant_id, invoice["invoice_id"])
    document: dict[str, Any] = parse_document(invoice["document"])
    creditable = creditable_of(document, given, invoice["credited"], invoice["written_off"])
    at_once = credited_at_once(correction.lines, creditable)
    if not at_once.lines or creditable.left <= 0:
        return None
    wanted = CreditWanted(
        _key(conn, tenant_id, correction.number),
        correction.number,
        "Usage was corrected after the invoice",
        lines=at_once.lines,
    )
    try:
        note, transfers = give_credit(conn, tenant_id, wanted, invoice, now)
    except Conflict:
        return None  # More than is left of the invoice: the next one has it.
    number: str = note["number"]
    rows.insert_given_back(conn, tenant_id, number, correction.invoice_id, at_once.given, correction.since)
    post(conn, tenant_id, transfers, now)
    return number


def _key(conn: BooksConnection, tenant_id: int, number: str) -> str:
    """A key that no credit note has: the first free place of the invoice's corrections."""
    place = 1
    while credit_rows.select_by_key(conn, tenant_id, f"correction:{number}:{place}") is not None:
        place += 1
    return f"correction:{number}:{place}"
