"""Money given back, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.errors import Conflict
from farthing.kernel.quantity import exact, plain
from farthing.ledger.facts import RefundPaid
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import refund_paid
from farthing.payments.gateway import Outcome, Result
from farthing.payments.model import BY_HAND, Purpose, RefundState
from farthing.payments.money_back import store as rows
from farthing.payments.settling import apply_credits
from farthing.payments.settling_store import take_back
from farthing.payments.topping_up import return_refunds, take_from_grants


@dataclass(frozen=True, slots=True)
class RefundTold:
    """What was learnt about a refund."""

    refund_id: int
    outcome: Outcome


_STATES = {
    Result.SUCCEEDED: RefundState.SUCCEEDED,
    Result.PROCESSING: RefundState.SENT,
    Result.DECLINED: RefundState.FAILED,
}


def reserve_refund(
    conn: BooksConnection,
    tenant_id: int,
    payment: Mapping[str, Any],
    key: str,
    amount: Decimal,
    reason: str,
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """Set aside what is to go back: first of what stands to the customer's credit, then of what invoices got.

    Of a top-up it leaves the wallet at once, as far as it is neither drawn nor held: no more can be given back.

    Raises Conflict `refund_above_payment`, `payment_not_succeeded`, `top_up_drawn`.
    """
    room = rows.select_room(conn, tenant_id, [payment["payment_id"]]).get(payment["payment_id"])
    if room is None:
        raise Conflict(
            "payment_not_succeeded",
            f"payment {payment['key']} is {payment['state']}: nothing can be given back of it",
            path="payment",
        )
    credit, kept = room
    if amount > kept:
        raise Conflict(
            "refund_above_payment",
            f"{plain(amount)} is more than the {plain(kept)} {payment['currency']} that are left of payment "
            f"{payment['key']}",
            path="amount",
        )
    if payment["purpose"] == Purpose.TOP_UP:
        _take_from_wallet(conn, tenant_id, payment, amount, f"refund {key}", now, transfers)
    elif amount > credit:
        with exact():
            short = amount - credit
        take_back(conn, tenant_id, [(payment["payment_id"], short)], f"refund {key}", now)
    values = {
        "key": key,
        "payment_id": payment["payment_id"],
        "amount": amount,
        "reason": reason,
        "now": now,
    }
    rows.insert_refund(conn, tenant_id, values)


def _take_from_wallet(
    conn: BooksConnection,
    tenant_id: int,
    payment: Mapping[str, Any],
    amount: Decimal,
    cause: str,
    now: datetime,
    transfers: list[Transfer],
) -> None:
    payment_id = payment["payment_id"]
    taken = take_from_grants(conn, tenant_id, {payment_id: amount}, cause, now, transfers)[payment_id]
    if taken < amount:
        raise Conflict(
            "top_up_drawn",
            f"of what payment {payment['key']} paid for, {plain(taken)} {payment['currency']} are neither drawn nor "
            "held: no more can be given back",
            path="amount",
        )


def settle_refunds(
    conn: BooksConnection,
    tenant_id: int,
    told: Sequence[RefundTold],
    now: datetime,
    transfers: list[Transfer],
) -> list[int]:
    """Apply what became of refunds; answers with those that moved. What is old news moves nothing, and of several
    things that are told of one refund the first counts."""
    first = {one.refund_id: one for one in reversed(told) if one.outcome.result in _STATES}
    known = list(first.values())
    if not known:
        return []
    moved = rows.move_refunds(
        conn,
        tenant_id,
        [
            {
                "refund_id": one.refund_id,
                "state": _STATES[one.outcome.result],
                "provider_id": one.outcome.provider_id,
                "code": (one.outcome.code or "declined") if one.outcome.result is Result.DECLINED else None,
            }
            for one in known
        ],
        now,
    )
    facts = []
    for row in moved:
        body = {
            "payment": row["payment"],
            "amount": plain(row["amount"]),
            "currency": row["currency"],
            "code": row["failure"],
        }
        if row["state"] == RefundState.SUCCEEDED:
            facts.append(Fact("refund.succeeded", row["key"], body, now))
            transfers.append(
                refund_paid(
                    RefundPaid(
                        row["key"],
                        row["customer_id"],
                        row["currency"],
                        row["amount"],
                        now,
                        at_gateway=row["gateway"] not in BY_HAND and row["charged_as"] is not None,
                    )
                )
            )
        elif row["state"] == RefundState.FAILED:
            facts.append(Fact("refund.failed", row["key"], body, now))
    announce(conn, tenant_id, facts)
    # What could not be given back stands to the customer's credit again, and pays what was opened for it.
    failed = [row for row in moved if row["state"] == RefundState.FAILED]
    if kept := {row["customer_id"] for row in failed}:
        apply_credits(conn, tenant_id, now, kept)
    return_refunds(conn, tenant_id, failed, now, transfers)
    return [row["refund_id"] for row in moved]
