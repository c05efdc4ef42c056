"""What time brings to wallets: promised grants begin, grants expire, wallets in want ask for money.

Each is safe to kill and to run again: it finds what is left to do, a thousand at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from farthing.db import Books
from farthing.db.outbox import Fact, announce
from farthing.db.pool import BooksConnection
from farthing.kernel.instant import format_instant
from farthing.kernel.quantity import ZERO, exact, trimmed
from farthing.ledger.facts import GrantExpired, GrantFunded
from farthing.ledger.recipes import grant_expired, grant_funded
from farthing.ledger.service import post
from farthing.wallets import balance_store
from farthing.wallets import recurring_store as recurring_rows
from farthing.wallets import store as rows
from farthing.wallets.balances import watch_balances
from farthing.wallets.model import Ending, GrantContent, Scope, worth
from farthing.wallets.recurrence import due_periods, grant_of, rolled_over
from farthing.wallets.service import ending_name

GRACE_SECONDS = 900
"""How long after its expiry a grant is left as it is: what was used before is still being counted, and may be drawn
from it. Nothing else can be."""
GRANTS_PER_TRANSACTION = 1_000
WALLETS_PER_TRANSACTION = 10_000
GRANT_EXPIRED = "grant.expired"


def keep_up(books: Books, tenant_id: int, now: datetime) -> None:
    """Bring the wallets of a tenant up to a moment."""
    recur_grants(books, tenant_id, now)
    expire_grants(books, tenant_id, now)
    _until_done(lambda: _closed(books, tenant_id, now))
    watch_all_balances(books, tenant_id, now)


def recur_grants(books: Books, tenant_id: int, now: datetime) -> int:
    """Make the promised grants of every period that has begun. How many those were."""
    return _until_done(lambda: _recurred(books, tenant_id, now))


def _recurred(books: Books, tenant_id: int, now: datetime) -> tuple[int, bool]:
    with books.transaction(tenant_id) as conn:
        promises = recurring_rows.lock_due_recurring(conn, tenant_id, now, GRANTS_PER_TRANSACTION)
        wanted: list[dict[str, Any]] = []
        moved: dict[int, datetime] = {}
        for promise in promises:
            for period in due_periods(promise, now):
                moved[promise.recurring_grant_id] = period.end
                content = grant_of(promise, period, now)
                if content is not None:
                    wanted.append(
                        rows.grant_row(
                            content,
                            promise.wallet_id,
                            promise.customer_id,
                            period.start,
                            b"",
                            recurring_grant_id=promise.recurring_grant_id,
                        )
                    )
        made = rows.insert_grants(conn, tenant_id, wanted, now) if wanted else {}
        if moved:
            recurring_rows.move_recurring(conn, tenant_id, moved)
        new = [row for row in wanted if row["key"] in made]
        if new:
            _watch(conn, tenant_id, [row["wallet_id"] for row in new], now)
            _fund(conn, tenant_id, new, now)
    return len(made), bool(promises)


def _fund(conn: BooksConnection, tenant_id: int, grants: Sequence[Mapping[str, Any]], now: datetime) -> None:
    currencies = rows.select_currencies(conn, tenant_id, {grant["wallet_id"] for grant in grants})
    with exact():
        worths = [worth(grant["amount"], grant["unit_price"]) for grant in grants]
    transfers = [
        grant_funded(
            GrantFunded(
                grant["key"],
                grant["customer_id"],
                currencies[grant["wallet_id"]],
                value,
                grant["paid"],
                now,
            )
        )
        for grant, value in zip(grants, worths, strict=True)
        if value  # Units that are given away are worth nothing.
    ]
    post(conn, tenant_id, transfers, now)


def expire_grants(books: Books, tenant_id: int, now: datetime) -> int:
    """End what is left of grants that have expired a while ago, never what is held. How many those were.

    What is left of a recurring one goes into the next, as far as its promise says; the rest is breakage.
    """
    return _until_done(lambda: _expired(books, tenant_id, now))


def _expired(books: Books, tenant_id: int, now: datetime) -> tuple[int, bool]:
    until = now - timedelta(seconds=GRACE_SECONDS)
    with books.transaction(tenant_id) as conn, exact():
        ending = rows.lock_ending_grants(conn, tenant_id, until, GRANTS_PER_TRANSACTION)
        if not ending:
            return 0, False
        rolled = {row["grant_id"]: _rolls(row) for row in ending}
        endings: list[tuple[int, int, Ending, Decimal, str]] = []
        for row in ending:
            grant_id, place = row["grant_id"], row["endings"] + 1
            if rolled[grant_id]:
                endings.append((grant_id, place, Ending.ROLLED_OVER, rolled[grant_id], ""))
                place += 1
            if lost := row["left_over"] - rolled[grant_id]:
                endings.append((grant_id, place, Ending.EXPIRED, lost, ""))
        rows.insert_endings(conn, tenant_id, endings, now)
        onward = [_next_of(row, rolled[row["grant_id"]]) for row in ending if rolled[row["grant_id"]]]
        if onward:
            rows.insert_grants(conn, tenant_id, onward, now)
        by_id = {row["grant_id"]: row for row in ending}
        lapsed = [
            (by_id[grant_id], place, amount)
            for grant_id, place, reason, amount, _ in endings
            if reason is Ending.EXPIRED
        ]
        announce(conn, tenant_id, [_lapsed_fact(row, amount, now) for row, _, amount in lapsed])
        _watch(conn, tenant_id, {row["wallet_id"] for row in ending}, now)
        transfers = [
            _lapse(row, place, amount, now) for row, place, amount in lapsed if row["unit_price"] != ZERO
        ]
        post(conn, tenant_id, transfers, now)
    return len(ending), True


def _rolls(row: Mapping[str, Any]) -> Decimal:
    """How much of what is left of an expired grant goes into the next one; that happens once."""
    if row["was_rolled"] or row["next_effective_at"] is None:
        return ZERO
    return rolled_over(row["left_over"], row["rollover_percent"], row["rollover_maximum"])


def _next_of(row: Mapping[str, Any], amount: Decimal) -> dict[str, Any]:
    content = GrantContent(
        f"{row['recurring']}@{format_instant(row['next_effective_at'])}:from_{row['grant_id']}",
        row["paid"],
        amount,
        row["priority"],
        Scope(tuple(row["meters"]), tuple(row["rate_cards"])),
        row["next_effective_at"],
        row["next_expires_at"],
        "",
        row["unit_price"],
    )
    return rows.grant_row(
        content,
        row["wallet_id"],
        row["customer_id"],
        row["next_effective_at"],
        b"",
        recurring_grant_id=row["recurring_grant_id"],
        rolled_from=row["grant_id"],
    )


def _lapse(row: Mapping[str, Any], place: int, amount: Decimal, now: datetime) -> Any:
    named = ending_name(row["key"], place)
    value = worth(amount, row["unit_price"])
    return grant_expired(GrantExpired(named, row["customer_id"], row["currency"], value, row["paid"], now))


def _lapsed_fact(row: Mapping[str, Any], amount: Decimal, now: datetime) -> Fact:
    body = {
        "customer": row["customer"],
        "wallet": row["wallet"],
        "kind": "paid" if row["paid"] else "promotional",
        "amount": trimmed(amount),
        **({"currency": row["currency"]} if row["unit"] is None else {"unit": row["unit"]}),
        "expired_at": format_instant(row["expires_at"]),
    }
    return Fact(GRANT_EXPIRED, row["key"], body, now)


def _closed(books: Books, tenant_id: int, now: datetime) -> tuple[int, bool]:
    with books.transaction(tenant_id) as conn:
        closed = rows.close_used_up(conn, tenant_id, now, GRANTS_PER_TRANSACTION)
    return closed, closed == GRANTS_PER_TRANSACTION


def watch_all_balances(books: Books, tenant_id: int, now: datetime) -> None:
    """See what time alone did to balances: a grant took effect or expired, the wait between two top-ups is over."""
    with books.read_only(tenant_id) as conn:
        moving = balance_store.select_moved_by_time(conn, tenant_id, now)
    for begin in range(0, len(moving), WALLETS_PER_TRANSACTION):
        with books.transaction(tenant_id) as conn:
            _watch(conn, tenant_id, moving[begin : begin + WALLETS_PER_TRANSACTION], now)


def _watch(conn: BooksConnection, tenant_id: int, wallet_ids: Any, now: datetime) -> None:
    balances = rows.select_balances(conn, tenant_id, list(wallet_ids), now)
    watch_balances(conn, tenant_id, {one: row["available"] for one, row in balances.items()}, now)


def _until_done(step: Callable[[], tuple[int, bool]]) -> int:
    """Do a step until it says that there is nothing more."""
    total, more = 0, True
    while more:
        done, more = step()
        total += done
    return total
