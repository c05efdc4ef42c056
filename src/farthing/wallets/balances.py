"""What becomes of a wallet when its balance moves: what is announced, and whether it asks for a top-up.

A balance is what can be drawn now. It is low at or below the wallet's `low_balance`, exhausted at nothing. Each is
announced once, when it becomes so; it can become so again after the balance has recovered.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import exact, trimmed
from farthing.wallets import balance_store as rows
from farthing.wallets.content import auto_top_up_of
from farthing.wallets.model import AutoTopUp, BalanceState
from farthing.wallets.top_up_store import insert_top_ups

LOW_BALANCE = "wallet.low_balance"
EXHAUSTED = "wallet.exhausted"
TOP_UP_REQUESTED = "wallet.top_up_requested"

_WORSE = {BalanceState.FUNDED: 0, BalanceState.LOW: 1, BalanceState.EXHAUSTED: 2}


def watch_balances(
    conn: BooksConnection, tenant_id: int, available: Mapping[int, Decimal], now: datetime
) -> None:
    """Announce what wallets have fallen to, and request the top-ups that they ask for by themselves.

    available: by wallet, what can be drawn now, in the state that this transaction leaves.
    """
    if not available:
        return
    states: dict[int, BalanceState] = {}
    facts: list[Fact] = []
    asking: list[Mapping[str, Any]] = []
    for row in rows.lock_moved_wallets(conn, tenant_id, available):
        before, after = BalanceState(row["before"]), BalanceState(row["after"])
        if before is not after:
            states[row["wallet_id"]] = after
        if _WORSE[after] > _WORSE[before]:
            kind = EXHAUSTED if after is BalanceState.EXHAUSTED else LOW_BALANCE
            facts.append(Fact(kind, row["key"], _said(row, available[row["wallet_id"]]), now))
        if row["asks"]:
            asking.append(row)
    if states:
        rows.update_states(conn, tenant_id, states)
    facts += _requested(conn, tenant_id, asking, now)
    announce(conn, tenant_id, facts)


def _said(row: Mapping[str, Any], available: Decimal) -> dict[str, Any]:
    said = {"customer": row["customer"], "balance": trimmed(available)}
    said |= {"currency": row["currency"]} if row["unit"] is None else {"unit": row["unit"]}
    if row["low_balance"] is not None:
        said["low_balance"] = trimmed(row["low_balance"])
    return said


def _requested(
    conn: BooksConnection, tenant_id: int, asking: Sequence[Mapping[str, Any]], now: datetime
) -> list[Fact]:
    """The top-ups that may be requested now, written and told of."""
    if not asking:
        return []
    earlier = rows.select_automatic(conn, tenant_id, [row["wallet_id"] for row in asking], _month_of(now))
    made, facts = [], []
    for row in asking:
        top_up = auto_top_up_of(row["top_up"])
        so_far = earlier[row["wallet_id"]]
        if not may_top_up(top_up, so_far["pending"], so_far["latest"], so_far["of_month"], now):
            continue
        key = f"{row['wallet_id']}:automatic:{so_far['count'] + 1}"
        made.append((key, row["wallet_id"], top_up.amount, top_up.collected_by.value))
        body = {
            "customer": row["customer"],
            "wallet": row["key"],
            "amount": trimmed(top_up.amount),
            "currency": row["currency"],
            "automatic": True,
            "collected_by": top_up.collected_by.value,
        }
        facts.append(Fact(TOP_UP_REQUESTED, key, body, now))
    if made:
        insert_top_ups(conn, tenant_id, made, now, automatic=True)
    return facts


def may_top_up(
    top_up: AutoTopUp, pending: int, latest: datetime | None, of_month: Decimal, now: datetime
) -> bool:
    """Whether a wallet that is below its threshold may ask for money now. Pure.

    pending: automatic top-ups that are not settled yet; latest: when the last one was requested, whatever came
    of it; of_month: what those of this calendar month come to, failed ones aside.
    """
    if pending:
        return False
    # A clock that was set back does not make a wallet wait for longer than its cooldown.
    cooldown = timedelta(seconds=top_up.cooldown_seconds)
    if latest is not None and timedelta(0) <= now - latest < cooldown:
        return False
    with exact():
        return top_up.monthly_maximum is None or of_month + top_up.amount <= top_up.monthly_maximum


def _month_of(now: datetime) -> datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
