"""Money that payers' banks take back, in the caller's transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact, plain
from farthing.ledger.facts import Chargeback
from farthing.ledger.model import Transfer
from farthing.ledger.recipes import charged_back
from farthing.payments import settling_store
from farthing.payments.model import BY_HAND, DisputeKind, DisputeState, Purpose, State
from farthing.payments.money_back import store as rows
from farthing.payments.settling import apply_credits, receive
from farthing.payments.store import insert_payments, select_payments_of
from farthing.payments.topping_up import return_won, take_back


@dataclass(frozen=True, slots=True)
class Taken:
    """A bank took money back of a payment. key: names the dispute, for ever."""

    key: str
    payment_id: int
    kind: DisputeKind
    reason: str
    amount: Decimal
    fee: Decimal
    opened_at: datetime
    respond_by: datetime | None = None


def open_disputes(
    conn: BooksConnection, tenant_id: int, taken: Sequence[Taken], now: datetime, transfers: list[Transfer]
) -> list[str]:
    """Invoices that were paid by these are open again, and the ledger has it; answers with the keys that are new.

    What paid for a top-up leaves the wallet, as far as it is undrawn; the rest is owed.

    More than what is left of a payment cannot be taken: where a refund went first, what is left is.
    """
    standing = rows.select_dispute_keys(conn, tenant_id, [one.key for one in taken])
    room = rows.select_room(conn, tenant_id, [one.payment_id for one in taken])
    made, short = [], []
    for one in taken:
        credit, kept = room.get(one.payment_id, (ZERO, ZERO))
        amount = min(one.amount, kept)
        if one.key in standing or amount <= 0:
            continue
        standing.add(one.key)
        with exact():
            room[one.payment_id] = (max(credit - amount, ZERO), kept - amount)
            if amount > credit:
                short.append((one.payment_id, amount - credit))
        contested = one.kind is DisputeKind.CHARGEBACK
        made.append(
            {
                "key": one.key,
                "payment_id": one.payment_id,
                "kind": one.kind,
                "reason": one.reason,
                "amount": amount,
                "fee": one.fee,
                "opened_at": one.opened_at,
                "respond_by": one.respond_by,
                "state": DisputeState.NEEDS_RESPONSE if contested else DisputeState.LOST,
            }
        )
    if not made:
        return []
    settling_store.take_back(conn, tenant_id, _summed(short), "dispute", now)
    opened = rows.insert_disputes(conn, tenant_id, made, now)
    announce(conn, tenant_id, [_fact("dispute.opened", row, now) for row in opened])
    # What stands to the customer's credit, which no invoice was open for until now, pays what was opened.
    apply_credits(conn, tenant_id, now, {row["customer_id"] for row in opened})
    transfers += [
        charged_back(
            Chargeback(
                row["key"],
                row["payment"],
                row["customer_id"],
                row["currency"],
                row["amount"],
                row["fee"],
                row["opened_at"],
                at_gateway=row["gateway"] not in BY_HAND,
            )
        )
        for row in opened
    ]
    take_back(conn, tenant_id, opened, now, transfers)
    return [row["key"] for row in opened]


def close_dispute(
    conn: BooksConnection,
    tenant_id: int,
    key: str,
    state: DisputeState,
    now: datetime,
    transfers: list[Transfer],
) -> bool:
    """A dispute was decided, or evidence was sent; says whether that is news. A dispute won is a payment."""
    if not rows.move_dispute(conn, tenant_id, key, state, now):
        return False
    found = rows.select_dispute(conn, tenant_id, key)
    assert found is not None
    announce(conn, tenant_id, [_fact(f"dispute.{state}", found, now)])
    if state is DisputeState.WON:
        of_top_up = found["purpose"] == Purpose.TOP_UP
        made = insert_payments(
            conn,
            tenant_id,
            [
                {
                    "key": f"won:{key}",
                    "customer_id": found["customer_id"],
                    "gateway": found["gateway"],
                    "purpose": Purpose.TOP_UP if of_top_up else Purpose.WON_DISPUTE,
                    "currency": found["currency"],
                    "amount": found["amount"],
                    "reference": found["payment"],
                    "state": State.SUCCEEDED,
                    "cause": f"dispute {key} was won",
                    "paid_at": now,
                    "requested_at": now,
                }
            ],
        )
        payments = select_payments_of(conn, tenant_id, [row["payment_id"] for row in made])
        receive(conn, tenant_id, payments, now, transfers)
        if of_top_up:
            for one in made:
                return_won(conn, tenant_id, found, one["payment_id"], now, transfers)
    return True


def _summed(short: Sequence[tuple[int, Decimal]]) -> list[tuple[int, Decimal]]:
    total: dict[int, Decimal] = {}
    with exact():
        for payment_id, amount in short:
            total[payment_id] = total.get(payment_id, ZERO) + amount
    return list(total.items())


def _fact(kind: str, row: Any, now: datetime) -> Fact:
    body = {
        "payment": row["payment"],
        "kind": row["kind"],
        "reason": row["reason"],
        "amount": plain(row["amount"]),
        "currency": row["currency"],
        "opened_at": format_instant(row["opened_at"]),
    }
    return Fact(kind, row["key"], body, now)
