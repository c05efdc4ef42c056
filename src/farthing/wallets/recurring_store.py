"""SQL of recurring grants."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from farthing.db.pool import BooksConnection
from farthing.kernel.period import Interval
from farthing.wallets.model import Recurring, RecurringContent, Scope

_RECURRING = """
    SELECT r.recurring_grant_id, r.key, r.wallet_id, w.key AS wallet, w.customer_id, c.timezone, r.paid, r.amount,
           r.unit_price, r.priority, r.meters, r.rate_cards, r.schedule_interval, r.interval_count, r.expires,
           r.rollover_percent, r.rollover_maximum, r.start_at, r.end_at, r.next_start
      FROM recurring_grants r
      JOIN wallets w ON w.tenant_id = r.tenant_id AND w.wallet_id = r.wallet_id
      JOIN customers c ON c.tenant_id = w.tenant_id AND c.customer_id = w.customer_id
     WHERE r.tenant_id = %(tenant_id)s
"""


def insert_recurring(
    conn: BooksConnection,
    tenant_id: int,
    wallet_id: int,
    content: RecurringContent,
    start: datetime,
    now: datetime,
) -> bool:
    """A new promise. False where its key is taken."""
    made = conn.execute(
        """
        INSERT INTO recurring_grants (tenant_id, key, wallet_id, paid, amount, unit_price, priority, meters,
                                      rate_cards, schedule_interval, interval_count, expires, rollover_percent,
                                      rollover_maximum, start_at, end_at, next_start, created_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (tenant_id, key) DO NOTHING
        """,
        [
            tenant_id,
            content.key,
            wallet_id,
            content.paid,
            content.amount,
            content.unit_price,
            content.priority,
            list(content.scope.meters),
            list(content.scope.rate_cards),
            content.interval.value,
            content.interval_count,
            content.expires,
            content.rollover_percent,
            content.rollover_maximum,
            start,
            content.end,
            start,
            now,
        ],
    )
    return made.rowcount == 1


def select_recurring(conn: BooksConnection, tenant_id: int, key: str) -> Recurring | None:
    """A promise by its key."""
    row = conn.execute(_RECURRING + " AND r.key = %(key)s", {"tenant_id": tenant_id, "key": key}).fetchone()
    return None if row is None else _recurring(row)


def select_recurring_of(
    conn: BooksConnection, tenant_id: int, wallet_id: int, after: int, limit: int
) -> list[Recurring]:
    """The promises of a wallet, in the order of their making, those behind the id `after`."""
    rows = conn.execute(
        _RECURRING
        + " AND r.wallet_id = %(wallet_id)s AND r.recurring_grant_id > %(after)s"
        + " ORDER BY r.recurring_grant_id LIMIT %(limit)s",
        {"tenant_id": tenant_id, "wallet_id": wallet_id, "after": after, "limit": limit},
    )
    return [_recurring(row) for row in rows]


def lock_due_recurring(conn: BooksConnection, tenant_id: int, now: datetime, limit: int) -> list[Recurring]:
    """Promises of which a period has begun that has no grant yet; nobody else keeps them meanwhile."""
    rows = conn.execute(
        _RECURRING
        + """
           AND r.next_start <= %(now)s AND (r.end_at IS NULL OR r.next_start < r.end_at)
         ORDER BY r.recurring_grant_id LIMIT %(limit)s FOR NO KEY UPDATE OF r
        """,
        {"tenant_id": tenant_id, "now": now, "limit": limit},
    )
    return [_recurring(row) for row in rows]


def move_recurring(conn: BooksConnection, tenant_id: int, next_starts: Mapping[int, datetime]) -> None:
    """Up to where promises have been kept."""
    conn.execute(
        """
        UPDATE recurring_grants r SET next_start = given.next_start
          FROM unnest(%(ids)s::bigint[], %(starts)s::timestamptz[]) AS given (recurring_grant_id, next_start)
         WHERE r.tenant_id = %(tenant_id)s AND r.recurring_grant_id = given.recurring_grant_id
        """,
        {"tenant_id": tenant_id, "ids": list(next_starts), "starts": list(next_starts.values())},
    )


def _recurring(row: Mapping[str, Any]) -> Recurring:
    content = RecurringContent(
        row["key"],
        row["paid"],
        row["amount"],
        row["priority"],
        Scope(tuple(row["meters"]), tuple(row["rate_cards"])),
        Interval(row["schedule_interval"]),
        row["interval_count"],
        row["expires"],
        row["rollover_percent"],
        row["rollover_maximum"],
        row["start_at"],
        row["end_at"],
        row["unit_price"],
    )
    return Recurring(
        row["recurring_grant_id"],
        row["wallet_id"],
        row["wallet"],
        row["customer_id"],
        row["timezone"],
        content,
        row["start_at"],
        row["next_start"],
    )
