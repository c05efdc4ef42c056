"""What becomes of payments, applied in the caller's transaction: state, what was paid, the ledger, the outbox.

Everything here is for many payments at once, may be told twice and in any order, and says the same in the end: a
payment that succeeded stays so, an attempt that is settled stays so. Call `lock_settling` first. What is to be booked
is added to `transfers`, and the caller books it at the very end of its transaction: from then on it holds accounts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import plain
from farthing.ledger.facts import PaymentFee, PaymentReceived
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import payment_fee, payment_received
from farthing.ledger.service import post_all
from farthing.payments import settling_store as rows
from farthing.payments.gateway import Outcome, Result
from farthing.payments.model import BY_HAND, Purpose, State
from farthing.payments.schedule import DunningPolicy, next_attempt
from farthing.payments.topping_up import fail, fund, watch_moved
from farthing.payments.topping_up_store import select_asked_once

NEVER_ARRIVED = "never_arrived"
"""The code of an attempt that the gateway never heard of, long after it was sent."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was learnt about an attempt of a payment."""

    payment_id: int
    attempt: int
    outcome: Outcome


def settle(
    conn: BooksConnection,
    tenant_id: int,
    told: Sequence[Told],
    policy: DunningPolicy,
    cause: str,
    now: datetime,
    transfers: list[Transfer],
) -> list[int]:
    """Apply outcomes; answers with the payments that moved. What is old news moves nothing."""
    last = {(one.payment_id, one.attempt): one for one in told if one.outcome.result in _STATES}
    declined_ids = [one.payment_id for one in last.values() if one.outcome.result is Result.DECLINED]
    once = select_asked_once(conn, tenant_id, declined_ids) if declined_ids else set()
    moves = [_move(one, policy, now, retries=one.payment_id not in once) for one in last.values()]
    succeeded = [move for move in moves if move["state"] == State.SUCCEEDED]
    declined = [move for move in moves if move["result"] is Result.DECLINED]
    if succeeded:
        rows.settle_attempts(conn, tenant_id, succeeded, "succeeded", now)
    if declined:
        rows.settle_attempts(conn, tenant_id, declined, "failed", now)
    moved = rows.move_payments(conn, tenant_id, moves, cause, now) if moves else []
    receive(conn, tenant_id, [row for row in moved if row["state"] == State.SUCCEEDED], now, transfers)
    fail(conn, tenant_id, moved, now)
    _announce_declined(conn, tenant_id, [row for row in moved if row["failure"] is not None], now)
    _announce_asked(conn, tenant_id, [row for row in moved if row["state"] == State.ACTION_REQUIRED], now)
    return [row["payment_id"] for row in moved]


_STATES = {
    Result.SUCCEEDED: State.SUCCEEDED,
    Result.PROCESSING: State.PROCESSING,
    Result.ACTION_REQUIRED: State.ACTION_REQUIRED,
    Result.DECLINED: State.FAILED,
}


def _move(one: Told, policy: DunningPolicy, now: datetime, *, retries: bool) -> dict[str, Any]:
    outcome = one.outcome
    state = _STATES[outcome.result]
    retry = None
    if outcome.result is Result.DECLINED:
        retry = next_attempt(policy, one.attempt, outcome.code, now) if retries else None
        state = State.FAILED if retry is None else State.REQUESTED
    return {
        "payment_id": one.payment_id,
        "attempt": one.attempt,
        "result": outcome.result,
        "state": state,
        "provider_id": outcome.provider_id,
        "code": (outcome.code or "declined") if outcome.result is Result.DECLINED else None,
        "next_attempt_at": retry,
        "paid_at": (outcome.at or now) if state is State.SUCCEEDED else None,
        "fee": outcome.fee if state is State.SUCCEEDED else Decimal(0),
    }


def receive(
    conn: BooksConnection,
    tenant_id: int,
    payments: Sequence[Mapping[str, Any]],
    now: datetime,
    transfers: list[Transfer],
    targets: Sequence[Sequence[tuple[int, int]]] = (),
) -> None:
    """Money came in by these payments: pay what they are for, then what is oldest, book and tell it.

    targets: rounds of (payment, invoice) that are paid first; without any, each payment's own invoice.
    """
    if not payments:
        return
    rounds = targets or [[(one["payment_id"], one["invoice_id"]) for one in payments if one["invoice_id"]]]
    touched: list[int] = []
    for pairs in rounds:
        if pairs:
            touched += rows.allocate_targets(conn, tenant_id, pairs, "payment", now)
    customers = {one["customer_id"] for one in payments if one["purpose"] != Purpose.TOP_UP}
    touched += rows.allocate_oldest(conn, tenant_id, customers, "credit", now)
    names = rows.select_numbers(conn, tenant_id, {one["invoice_id"] for one in payments} - {None})
    keys = rows.select_customer_keys(conn, tenant_id, {one["customer_id"] for one in payments})
    announce(conn, tenant_id, [_received(one, keys, names, now) for one in payments])
    announce_paid(conn, tenant_id, touched, now)
    for one in payments:
        transfers += _transfers(one, names)
    fund(conn, tenant_id, payments, now, transfers)


def book(conn: BooksConnection, tenant_id: int, transfers: Sequence[Transfer], now: datetime) -> None:
    """Book what was gathered, as the last thing that a transaction does; before it, tell what wallets came to by it.

    Money moved when gateways and banks say it did; where the books are closed for that time already, it takes effect
    as soon as they are open, for it has to be booked. (What people write down for a closed time is refused instead.)
    """
    watch_moved(conn, tenant_id, transfers, now)
    closed_until = rows.select_closed_until(conn, tenant_id) if transfers else None
    if closed_until is not None:
        transfers = [replace(one, effective_at=max(one.effective_at, closed_until)) for one in transfers]
    post_all(conn, tenant_id, transfers, now)


def apply_credits(
    conn: BooksConnection, tenant_id: int, now: datetime, customer_ids: Collection[int] | None = None
) -> int:
    """Let what stands to anybody's credit, or to that of these, pay what they owe; answers with how many invoices got
    something."""
    touched = rows.allocate_oldest(conn, tenant_id, customer_ids, "credit", now)
    announce_paid(conn, tenant_id, touched, now)
    return len(set(touched))


def announce_paid(conn: BooksConnection, tenant_id: int, invoice_ids: Collection[int], now: datetime) -> None:
    """Tell of those of these invoices that are paid whole."""
    if not invoice_ids:
        return
    facts = [
        Fact(
            "invoice.paid",
            row["number"],
            {"customer": row["customer"], "currency": row["currency"], "paid": plain(row["paid"])},
            now,
        )
        for row in rows.select_paid(conn, tenant_id, set(invoice_ids))
    ]
    announce(conn, tenant_id, facts)


def _transfers(payment: Mapping[str, Any], numbers: Mapping[int, str]) -> list[Transfer]:
    reference = numbers.get(payment["invoice_id"], "") or payment["reference"]
    transfers = [
        payment_received(
            PaymentReceived(
                payment["key"],
                payment["customer_id"],
                payment["currency"],
                payment["amount"],
                payment["paid_at"],
                reference,
                at_gateway=payment["gateway"] not in BY_HAND,
            )
        )
    ]
    if payment["fee"]:
        fee = PaymentFee(
            payment["key"],
            payment["currency"],
            payment["fee"],
            payment["paid_at"],
            at_gateway=payment["gateway"] not in BY_HAND,
        )
        transfers.append(payment_fee(fee))
    return transfers


def _received(
    payment: Mapping[str, Any], customers: Mapping[int, str], numbers: Mapping[int, str], now: datetime
) -> Fact:
    body = {
        "customer": customers[payment["customer_id"]],
        "amount": plain(payment["amount"]),
        "currency": payment["currency"],
        "gateway": payment["gateway"],
        "purpose": payment["purpose"],
        "invoice": numbers.get(payment["invoice_id"]),
        "top_up": payment["top_up"],
        "paid_at": format_instant(payment["paid_at"]),
    }
    return Fact("payment.succeeded", payment["key"], body, now)


def _announce_asked(
    conn: BooksConnection, tenant_id: int, payments: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    """Payers have to prove who they are: somebody has to ask them to."""
    if not payments:
        return
    names = rows.select_numbers(conn, tenant_id, {one["invoice_id"] for one in payments} - {None})
    keys = rows.select_customer_keys(conn, tenant_id, {one["customer_id"] for one in payments})
    facts = [
        Fact(
            "payment.action_required",
            one["key"],
            {
                "customer": keys[one["customer_id"]],
                "amount": plain(one["amount"]),
                "currency": one["currency"],
                "gateway": one["gateway"],
                "invoice": names.get(one["invoice_id"]),
                "top_up": one["top_up"],
            },
            now,
        )
        for one in payments
    ]
    announce(conn, tenant_id, facts)


def _announce_declined(
    conn: BooksConnection, tenant_id: int, payments: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    if not payments:
        return
    keys = rows.select_customer_keys(conn, tenant_id, {one["customer_id"] for one in payments})
    facts = []
    for one in payments:
        again = one["next_attempt_at"]
        body = {
            "customer": keys[one["customer_id"]],
            "amount": plain(one["amount"]),
            "currency": one["currency"],
            "code": one["failure"],
            "next_attempt_at": None if again is None else format_instant(again),
        }
        kind = "payment.failed" if again is None else "payment.declined"
        facts.append(Fact(kind, one["key"], body, now))
    announce(conn, tenant_id, facts)
