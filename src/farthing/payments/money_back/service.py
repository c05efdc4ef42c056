"""Use cases of money that goes back: refunds, disputes."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.catalog.model import Outcome as Written
from farthing.db import Books
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict, NotFound
from farthing.kernel.quantity import exact
from farthing.kernel.reading import shown
from farthing.ledger.model import Transfer
from farthing.payments import settling_store
from farthing.payments.content import check_minor_units, dispute_of, parse_refund, refund_of
from farthing.payments.disputing import close_dispute
from farthing.payments.gateway import Outcome, Result
from farthing.payments.model import BY_HAND, Dispute, DisputeState, Purpose, Refund, State
from farthing.payments.money_back import store as rows
from farthing.payments.refunding import RefundTold, reserve_refund, settle_refunds
from farthing.payments.service import no_payment
from farthing.payments.settling import book
from farthing.payments.store import hold_payment
from farthing.payments.topping_up import undrawn

LIST_LIMIT_MAX = 10_001
"""The longest page, and the one item that tells whether another page follows."""

# ---- Refunds


def create_refund(books: Books, tenant_id: int, raw: object, now: datetime) -> tuple[Refund, Written]:
    """Give money back of a payment, or say that it is. Where a gateway took it, the engine sends it back.

    Without an amount: all that is left of the payment; of a top-up, all that is neither drawn nor held.

    Raises InvalidInput; NotFound `payment_not_found`; Conflict `refund_above_payment`, `payment_not_succeeded`,
    `refund_conflict`, `top_up_drawn`.
    """
    content = parse_refund(raw)
    with books.transaction(tenant_id) as conn:
        settling_store.lock_settling(conn, tenant_id)
        standing = rows.select_refund(conn, tenant_id, content.key)
        if standing is None:
            payment = hold_payment(conn, tenant_id, content.payment)
            if payment is None:
                raise no_payment(content.payment)
            amount = _left(conn, tenant_id, payment) if content.amount is None else content.amount
            if not amount:
                raise Conflict("refund_above_payment", "nothing is left of the payment", path="payment")
            check_minor_units(amount, payment["currency"], "amount")
            transfers: list[Transfer] = []
            reserve_refund(conn, tenant_id, payment, content.key, amount, content.reason, now, transfers)
            made = rows.select_refund(conn, tenant_id, content.key)
            assert made is not None
            # What a bank gave back by a dispute that was won is known at no gateway.
            if payment["gateway"] in BY_HAND or payment["provider_id"] is None:
                told = [RefundTold(made["refund_id"], Outcome(Result.SUCCEEDED))]
                settle_refunds(conn, tenant_id, told, now, transfers)
                made = rows.select_refund(conn, tenant_id, content.key)
                assert made is not None
            book(conn, tenant_id, transfers, now)
            return refund_of(made), Written.CREATED
    refund = refund_of(standing)
    if refund.payment != content.payment or (content.amount is not None and content.amount != refund.amount):
        raise Conflict("refund_conflict", f"the refund {shown(content.key)} is another one", path="key")
    return refund, Written.UNCHANGED


def _left(conn: BooksConnection, tenant_id: int, payment: Mapping[str, Any]) -> Decimal:
    """What of a payment may go back."""
    with exact():
        kept: Decimal = payment["amount"] - payment["refunded"] - payment["charged_back"]
    if payment["purpose"] == Purpose.TOP_UP and payment["state"] == State.SUCCEEDED:
        return min(kept, undrawn(conn, tenant_id, payment["payment_id"]))
    return kept


def get_refund(books: Books, tenant_id: int, key: str) -> Refund:
    """Raises NotFound `refund_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_refund(conn, tenant_id, key)
    if found is None:
        raise NotFound("refund_not_found", f"there is no refund {shown(key)}")
    return refund_of(found)


def list_refunds(
    books: Books, tenant_id: int, after: int, limit: int, payment: str | None = None
) -> list[tuple[int, Refund]]:
    """Refunds in the order of their making with their ids, the first behind the id `after`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_refunds_after(conn, tenant_id, after, limit, payment)
    return [(row["refund_id"], refund_of(row)) for row in found]


# ---- Disputes


def get_dispute(books: Books, tenant_id: int, key: str) -> Dispute:
    """Raises NotFound `dispute_not_found`."""
    with books.read_only(tenant_id) as conn:
        found = rows.select_dispute(conn, tenant_id, key)
    if found is None:
        raise NotFound("dispute_not_found", f"there is no dispute {shown(key)}")
    return dispute_of(found)


def list_disputes(
    books: Books, tenant_id: int, after: int, limit: int, state: DisputeState | None = None
) -> list[tuple[int, Dispute]]:
    """Disputes in the order of their opening with their ids, the first behind the id `after`."""
    assert 1 <= limit <= LIST_LIMIT_MAX
    with books.read_only(tenant_id) as conn:
        found = rows.select_disputes_after(
            conn, tenant_id, after, limit, None if state is None else state.value
        )
    return [(row["dispute_id"], dispute_of(row)) for row in found]


def decide_dispute(books: Books, tenant_id: int, key: str, state: DisputeState, now: datetime) -> Dispute:
    """A dispute was answered, won or lost, as somebody knows who saw it at the gateway. Again, it changes nothing.

    Raises NotFound `dispute_not_found`; Conflict `dispute_closed`.
    """
    get_dispute(books, tenant_id, key)
    with books.transaction(tenant_id) as conn:
        settling_store.lock_settling(conn, tenant_id)
        transfers: list[Transfer] = []
        moved = close_dispute(conn, tenant_id, key, state, now, transfers)
        book(conn, tenant_id, transfers, now)
    found = get_dispute(books, tenant_id, key)
    if not moved and found.state is not state:
        raise Conflict("dispute_closed", f"the dispute {shown(key)} is {found.state} already", path="key")
    return found
