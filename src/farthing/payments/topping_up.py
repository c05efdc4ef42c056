"""What payments of top-ups put into wallets, and what is taken out again, in the caller's transaction.

    funded + refunded + charged back >= the payment

`funded` is what the payment has in grants, also what of them is drawn. The difference is what the customer has
drawn and a bank took back: that is owed. It is taken out of the same grants as soon as they hold it again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.ledger.model import Transfer, TransferKind
from farthing.payments import topping_up_store as rows
from farthing.payments.model import Purpose, State
from farthing.wallets.paid_top_ups import (
    Returned,
    fail_paid,
    fund_again,
    fund_paid,
    take_out,
    undrawn_of,
    watch_grants,
)

TAKEN_BACK = "wallet.top_up_taken_back"
NOT_CONFIRMED = "not_confirmed"
"""Why a top-up failed whose payer was asked to prove who it is, and did not."""
CONFIRM_WITHIN_SECONDS = 24 * 3600
"""How long that is waited for. Until then no other top-up of the wallet is asked for by itself."""
_IN_WALLETS = (TransferKind.GRANT_FUNDED, TransferKind.GRANT_VOIDED)


def fund(
    conn: BooksConnection,
    tenant_id: int,
    payments: Sequence[Mapping[str, Any]],
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """Those of these payments that are for top-ups have succeeded: what they were for is granted, once."""
    of_top_ups = {one["top_up"]: one for one in payments if one["top_up"] is not None}
    if not of_top_ups:
        return
    paid = {top_up: one["key"] for top_up, one in of_top_ups.items()}
    made = fund_paid(conn, tenant_id, paid, now, transfers)
    funded = [
        (of_top_ups[top_up]["payment_id"], grant_id, amount) for top_up, (grant_id, amount) in made.items()
    ]
    rows.insert_fundings(conn, tenant_id, funded, "payment", now)


def fail(conn: BooksConnection, tenant_id: int, payments: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Those of these payments that are for top-ups have moved; what has failed for good is granted no more."""
    failed = {
        one["top_up"]: one["failure"] or "declined"
        for one in payments
        if one["top_up"] is not None and one["state"] == State.FAILED
    }
    if failed:
        fail_paid(conn, tenant_id, failed, now)


def give_up_unconfirmed(conn: BooksConnection, tenant_id: int, now: datetime) -> int:
    """Call off top-ups whose payers have not proved who they are for too long, so that others can be asked for.

    A payer who does so later pays nevertheless: what comes in is granted. How many were called off.
    """
    asked_before = now - timedelta(seconds=CONFIRM_WITHIN_SECONDS)
    given_up = rows.cancel_unconfirmed(conn, tenant_id, asked_before, NOT_CONFIRMED, now)
    if given_up:
        fail_paid(conn, tenant_id, dict.fromkeys(given_up, NOT_CONFIRMED), now)
    return len(given_up)


def undrawn(conn: BooksConnection, tenant_id: int, payment_id: int) -> Decimal:
    """What of a payment is in grants and neither drawn nor held, in whole minor units."""
    funded = rows.select_funded(conn, tenant_id, [payment_id])
    left = undrawn_of(conn, tenant_id, [row["grant_id"] for row in funded])
    with exact():
        return sum((min(left[row["grant_id"]], row["amount"]) for row in funded), ZERO)


def take_from_grants(
    conn: BooksConnection,
    tenant_id: int,
    wanted: Mapping[int, Decimal],
    cause: str,
    now: datetime,
    transfers: list[Transfer],
) -> dict[int, Decimal]:
    """Take so much of what these payments funded out of grants, as far as it is undrawn; how much of each that was."""
    funded = rows.select_funded(conn, tenant_id, wanted)
    left = undrawn_of(conn, tenant_id, {row["grant_id"] for row in funded})
    taken = dict.fromkeys(wanted, ZERO)
    moved: list[tuple[int, int, Decimal]] = []
    out: dict[int, Decimal] = {}
    with exact():
        for row in funded:
            payment_id, grant_id = row["payment_id"], row["grant_id"]
            amount = min(wanted[payment_id] - taken[payment_id], row["amount"], left[grant_id])
            if amount > 0:
                taken[payment_id] += amount
                left[grant_id] -= amount
                out[grant_id] = out.get(grant_id, ZERO) + amount
                moved.append((payment_id, grant_id, -amount))
    if out:
        take_out(conn, tenant_id, out, cause, now, transfers)
        rows.insert_fundings(conn, tenant_id, moved, cause, now)
    return taken


def return_refunds(
    conn: BooksConnection,
    tenant_id: int,
    refunds: Sequence[Mapping[str, Any]],
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """Refunds of top-ups have failed: what was set aside for them is in their wallets again."""
    own = [one for one in refunds if one["purpose"] == Purpose.TOP_UP]
    if not own:
        return
    grant_of = rows.select_latest_grants(conn, tenant_id, {one["payment_id"] for one in own})
    returned = [
        Returned(f"refund:{one['key']}", grant_of[one["payment_id"]], one["amount"], one["payment"])
        for one in own
    ]
    made = fund_again(conn, tenant_id, returned, now, transfers)
    funded = [
        (one["payment_id"], made[again.name], one["amount"]) for one, again in zip(own, returned, strict=True)
    ]
    rows.insert_fundings(conn, tenant_id, funded, "refund failed", now)


def take_back(
    conn: BooksConnection,
    tenant_id: int,
    disputes: Sequence[Mapping[str, Any]],
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """Banks took back what paid for top-ups: what is undrawn leaves the wallets, what is drawn is owed."""
    own = [one for one in disputes if one["purpose"] == Purpose.TOP_UP]
    if own:
        take_back_owed(conn, tenant_id, now, transfers, {one["payment_id"] for one in own})


def take_back_owed(
    conn: BooksConnection,
    tenant_id: int,
    now: datetime,
    transfers: list[Transfer],
    payment_ids: set[int] | None = None,
) -> None:
    """Take out of grants what is owed of their payments, of these or of all, and say what is owed still.

    Of all: what was held or drawn when a bank took the money back, and came back to the grant since.
    """
    owed = rows.select_owed(conn, tenant_id, payment_ids)
    if not owed:
        return
    wanted = {row["payment_id"]: row["owed"] for row in owed}
    taken = take_from_grants(conn, tenant_id, wanted, "dispute", now, transfers)
    facts = []
    with exact():
        for row in owed:
            if payment_ids is None and not taken[row["payment_id"]]:
                continue
            body = {
                "customer": row["customer"],
                "payment": row["key"],
                "taken_back": trimmed(taken[row["payment_id"]]),
                "owed": trimmed(row["owed"] - taken[row["payment_id"]]),
                "currency": row["currency"],
            }
            facts.append(Fact(TAKEN_BACK, row["wallet"], body, now))
    announce(conn, tenant_id, facts)


def return_won(
    conn: BooksConnection,
    tenant_id: int,
    dispute: Mapping[str, Any],
    won_id: int,
    now: datetime,
    transfers: list[Transfer],
) -> None:
    """A dispute about a top-up was won: the payment `won_id` pays for what was drawn, the rest is granted again."""
    payment_id = dispute["payment_id"]
    owed = rows.select_owed(conn, tenant_id, {payment_id})
    with exact():
        drawn = min(owed[0]["owed"], dispute["amount"]) if owed else ZERO
        back = dispute["amount"] - drawn
        moved: list[tuple[int, int, Decimal]] = []
        for row in rows.select_funded(conn, tenant_id, [payment_id]):
            part = min(drawn, row["amount"])
            if part:
                drawn -= part
                moved += [(payment_id, row["grant_id"], -part), (won_id, row["grant_id"], part)]
    if back:
        latest = rows.select_latest_grants(conn, tenant_id, {payment_id})[payment_id]
        returned = Returned(f"won:{dispute['key']}", latest, back, f"won:{dispute['key']}")
        made = fund_again(conn, tenant_id, [returned], now, transfers)
        moved.append((won_id, made[returned.name], back))
    rows.insert_fundings(conn, tenant_id, moved, "dispute won", now)


def watch_moved(conn: BooksConnection, tenant_id: int, transfers: Sequence[Transfer], now: datetime) -> None:
    """Look at the balances of the wallets whose grants these transfers move; after all else but accounts is locked."""
    grants = {one.reference for one in transfers if one.kind in _IN_WALLETS}
    if grants:
        watch_grants(conn, tenant_id, grants, now)
