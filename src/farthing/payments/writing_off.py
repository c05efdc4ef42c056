"""Giving up what is open of invoices, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.money import MINOR_UNITS
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.kernel.rounding import Direction, divide_rounded
from farthing.ledger.facts import WrittenOff
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import written_off
from farthing.payments.money_back.store import insert_write_offs, select_taxed


def tax_share(amount: Decimal, total: Decimal, tax: Decimal, currency: str) -> Decimal:
    """The tax in a part of an invoice, in proportion and rounded half up to the minor unit; less than the part."""
    if total <= 0 or tax <= 0:
        return ZERO
    with exact():
        dividend = amount * tax
    share = divide_rounded(dividend, total, MINOR_UNITS[currency], Direction.HALF_UP)
    return share if share < amount else ZERO


def write_off_open(
    conn: BooksConnection,
    tenant_id: int,
    invoices: Sequence[Mapping[str, Any]],
    reason: str,
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """Give up all that is open of these invoices: say so, book the loss and the tax that is got back, tell it."""
    if not invoices:
        return
    facts, written, told = [], [], []
    left = select_taxed(conn, tenant_id, [one["invoice_id"] for one in invoices])
    for one in invoices:
        tax = tax_share(one["open"], *left[one["invoice_id"]], one["currency"])
        with exact():
            net = one["open"] - tax
        number = one["number"]
        written.append((one["invoice_id"], net, tax))
        facts.append(WrittenOff(number, number, one["customer_id"], one["currency"], net, tax, now))
        body = {"amount": plain(one["open"]), "currency": one["currency"], "reason": reason}
        told.append(Fact("invoice.written_off", number, body, now))
    insert_write_offs(conn, tenant_id, written, reason, now)
    announce(conn, tenant_id, told)
    transfers += [written_off(fact) for fact in facts]
