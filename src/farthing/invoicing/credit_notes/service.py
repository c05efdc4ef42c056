"""Use cases of credit notes and voids."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.model import Outcome
from farthing.db import Books
from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.invoicing import booking_store as booking_rows
from farthing.invoicing import store as invoice_rows
from farthing.invoicing.booking import issued_facts
from farthing.invoicing.credit_notes import store as rows
from farthing.invoicing.credit_notes.content import (
    credit_note_number,
    document_of,
    parse_credit,
    parse_document,
    wanted_json,
)
from farthing.invoicing.credit_notes.creditable import creditable_of
from farthing.invoicing.credit_notes.decide import credit_of, net_of
from farthing.invoicing.credit_notes.model import Credit, Creditable, CreditWanted
from farthing.invoicing.document import document_text
from farthing.invoicing.model import Reason
from farthing.invoicing.seller import seller_on_document
from farthing.invoicing.units.drawing import units_given_back
from farthing.invoicing.wallets import gave_back
from farthing.kernel.errors import Conflict, NotFound
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.kernel.reading import parse_text, shown
from farthing.ledger.facts import CreditNoteIssued, InvoiceIssued, InvoiceVoided
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import credit_note_issued, invoice_voided
from farthing.ledger.service import post
from farthing.wallets.returning import put_returns, returned_in_all, returns_of

LIST_LIMIT_MAX = 101
"""A page of a hundred, and the one that tells whether another page follows."""


def issue_credit_note(
    books: Books, tenant_id: int, raw: object, now: datetime
) -> tuple[dict[str, Any], Outcome]:
    """Give back what is asked for of an invoice: a credit note, numbered and booked; the standing one, asked again.

    Raises:
        InvalidInput: `invalid_credit_note`, `invalid_amount`, `invalid_quantity`, `unknown_line`.
        NotFound: `invoice_not_found`.
        Conflict: `credit_over_invoice`, `nothing_to_credit`, `invoice_void`; `credit_note_exists`, where another
            stands under the key.
    """
    wanted = parse_credit(raw)
    request = wanted_json(wanted)
    with books.transaction(tenant_id) as conn:
        invoice_rows.lock_issuing(conn, tenant_id)
        standing = rows.select_by_key(conn, tenant_id, wanted.key)
        if standing is not None:
            if standing["request"] != request:
                complaint = f"{shown(wanted.key)} stands with another request, as {standing['number']}"
                raise Conflict("credit_note_exists", complaint, path="key")
            return parse_document(standing["document"]), Outcome.UNCHANGED
        invoice = _invoice(conn, tenant_id, wanted.invoice)
        if invoice["voided"]:
            raise Conflict("invoice_void", f"{wanted.invoice} is void: nothing is owed on it", path="invoice")
        document, transfers = give_credit(conn, tenant_id, wanted, invoice, now)
        post(conn, tenant_id, transfers, now)
    return document, Outcome.CREATED


def give_credit(
    conn: BooksConnection, tenant_id: int, wanted: CreditWanted, invoice: Mapping[str, Any], now: datetime
) -> tuple[dict[str, Any], list[Transfer]]:
    """A credit note of an invoice that is not void, and the transfers to post at the end of the transaction.

    invoice: a row of `store.select_invoice`. The caller holds the issuing of others. Raises as `issue_credit_note`.
    """
    billed = parse_document(invoice["document"])
    given = rows.select_given(conn, tenant_id, invoice["invoice_id"])
    creditable = creditable_of(billed, given, invoice["credited"], invoice["written_off"])
    credit = credit_of(wanted, creditable)
    # What goes beyond what the invoice asked for was paid by wallets.
    with exact():
        beyond = credit.total - (invoice["payable"] - invoice["reduced"] - invoice["written_off"])
    returns = returns_of(conn, tenant_id, invoice["invoice_id"], beyond, invoice["currency"], now)
    to_wallets = returned_in_all(returns)
    number = credit_note_number(rows.take_number(conn, tenant_id))
    tenant_name, seller = invoice_rows.select_seller(conn, tenant_id)
    document = document_of(
        credit, wanted, number, billed, seller_on_document(seller, tenant_name), now, to_wallets
    )
    rows.insert_credit_note(
        conn,
        tenant_id,
        number,
        wanted,
        wanted_json(wanted),
        invoice,
        credit,
        creditable,
        _deferred(credit, creditable, now),
        to_wallets,
        document_text(document),
        now,
    )
    announce(conn, tenant_id, [_credit_fact(document, now)])
    transfers = credit_transfers(rows.select_for_booking(conn, tenant_id, [number]))
    transfers += put_returns(conn, tenant_id, returns, number, invoice["currency"], now)
    return document, transfers


def credit_transfers(found: Sequence[Mapping[str, Any]]) -> list[Transfer]:
    """The transfers of credit notes."""
    return [
        credit_note_issued(
            CreditNoteIssued(
                row["number"],
                row["invoice"],
                row["customer_id"],
                row["currency"],
                row["earned"],
                row["deferred"],
                row["tax"],
                row["issued_at"],
            )
        )
        for row in found
    ]


def get_credit_note(books: Books, tenant_id: int, number: str) -> dict[str, Any]:
    """The credit note as it was issued. Raises NotFound `credit_note_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_document(conn, tenant_id, number)
    if found is None:
        raise NotFound("credit_note_not_found", f"there is no credit note {shown(number)}")
    return parse_document(found)


def list_credit_notes(
    books: Books,
    tenant_id: int,
    after: str | None,
    limit: int,
    *,
    customer: str | None = None,
    invoice: str | None = None,
) -> list[dict[str, Any]]:
    """Credit notes in order of issue without their lines, the first after the number `after`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_after(conn, tenant_id, after, limit, customer, invoice)
    return [
        {
            "number": row["number"],
            "invoice": row["invoice"],
            "customer": row["customer"],
            "reason": row["reason"],
            "currency": row["currency"],
            "subtotal": plain(row["subtotal"]),
            "tax": plain(row["tax"]),
            "total": plain(row["total"]),
            "refund": row["refund"],
            "issued_at": format_instant(row["issued_at"]),
        }
        for row in found
    ]


def void_invoice(
    books: Books, tenant_id: int, number: str, raw_reason: object, now: datetime
) -> tuple[dict[str, Any], Outcome]:
    """Take back an issued invoice whole; what it billed may be billed again. Asked again, nothing more happens.

    Only the last invoice of its subscription that holds: later ones were computed from it. What wallets paid of it
    goes back to the grants that it came from, until its period is billed again.

    Raises:
        InvalidInput: `invalid_text`.
        NotFound: `invoice_not_found`.
        Conflict: `later_invoice_stands`; `invoice_credited`, where a credit note gave back some of it;
            `invoice_written_off`.
    """
    reason = parse_text(raw_reason, "reason")
    with books.transaction(tenant_id) as conn:
        invoice_rows.lock_issuing(conn, tenant_id)
        invoice = _invoice(conn, tenant_id, number)
        if invoice["voided"]:
            return _void(conn, tenant_id, number), Outcome.UNCHANGED
        if invoice["credited"]:
            said = (
                f"{plain(invoice['credited'])} of {number} was given back by credit notes: give back the rest"
            )
            raise Conflict("invoice_credited", said, path="number")
        if invoice["written_off"]:
            said = f"{plain(invoice['written_off'])} of {number} was given up as lost: it stays as it is"
            raise Conflict("invoice_written_off", said, path="number")
        if invoice["later"] is not None:
            said = f"{invoice['later']} was issued later and builds on it: void that first, or credit"
            raise Conflict("later_invoice_stands", said, path="number")
        rows.insert_void(conn, tenant_id, invoice["invoice_id"], reason, now)
        said_of = {"total": plain(invoice["total"]), "currency": invoice["currency"], "reason": reason}
        announce(conn, tenant_id, [Fact("invoice.voided", number, said_of, now)])
        facts = issued_facts(booking_rows.select_issued_of(conn, tenant_id, [invoice["invoice_id"]]))
        transfers = void_transfers([(fact, now) for fact in facts])
        if invoice["paid_from_wallets"]:
            transfers += gave_back(conn, tenant_id, invoice, now)
        if invoice["reason"] == Reason.PERIOD:
            transfers += units_given_back(conn, tenant_id, invoice, now)
        post(conn, tenant_id, transfers, now)
        return _void(conn, tenant_id, number), Outcome.CHANGED


def void_transfers(voids: Sequence[tuple[InvoiceIssued, datetime]]) -> list[Transfer]:
    """The transfers of voids: of what was issued, and when it was voided; one over nothing has none."""
    return [
        invoice_voided(InvoiceVoided(fact, voided_at)) for fact, voided_at in voids if not fact.books_nothing
    ]


def _void(conn: BooksConnection, tenant_id: int, number: str) -> dict[str, Any]:
    found = rows.select_void(conn, tenant_id, number)
    assert found is not None
    return {"invoice": number, "status": "void"} | _void_json(found)


def _void_json(row: Mapping[str, Any]) -> dict[str, str]:
    return {"void_reason": row["reason"], "voided_at": format_instant(row["voided_at"])}


def _invoice(conn: BooksConnection, tenant_id: int, number: str) -> Any:
    found = rows.select_invoice(conn, tenant_id, number)
    if found is None:
        raise NotFound("invoice_not_found", f"there is no invoice {shown(number)}")
    return found


def _deferred(credit: Credit, creditable: Creditable, now: datetime) -> Decimal:
    """What is given back of service that is still to come, net of tax."""
    with exact():
        return sum(
            (
                net_of(one, creditable)
                for one in credit.lines
                if datetime.fromisoformat(one.line.said["service_period"]["end"]) > now
            ),
            ZERO,
        )


def _credit_fact(document: Mapping[str, Any], now: datetime) -> Fact:
    names = ("invoice", "customer", "currency", "total", "refund", "reason")
    return Fact("credit_note.issued", document["number"], {name: document[name] for name in names}, now)
