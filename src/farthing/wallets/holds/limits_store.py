"""SQL of spending limits and of what counts against them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from psycopg.rows import tuple_row

from farthing.db.pool import BooksConnection
from farthing.kernel.period import Interval
from farthing.wallets.holds.model import Counted, Level, LimitContent, SpendingLimit, Spent

_LIMITS = """
    SELECT l.limit_id, l.customer_id, c.key, l.level, l.name, l.schedule_interval, l.amount, c.currency, c.timezone,
           l.created_at
      FROM spending_limits l JOIN customers c ON c.tenant_id = l.tenant_id AND c.customer_id = l.customer_id
     WHERE l.tenant_id = %s
"""


def lock_limits(
    conn: BooksConnection, tenant_id: int, customer_ids: Collection[int]
) -> dict[int, list[SpendingLimit]]:
    """The limits of these customers, by customer; they and their counters stand still until the end."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        _LIMITS
        + " AND l.customer_id = ANY(%s) AND l.removed_at IS NULL ORDER BY l.limit_id FOR NO KEY UPDATE OF l",
        [tenant_id, list(customer_ids)],
    )
    found: dict[int, list[SpendingLimit]] = {}
    for row in rows:
        limit = _limit(row)
        found.setdefault(limit.customer_id, []).append(limit)
    return found


def select_spending(
    conn: BooksConnection, tenant_id: int, limit_ids: Collection[int], since: datetime
) -> dict[Counted, Spent]:
    """What counts against these limits in their periods from a moment on."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        "SELECT limit_id, period_start, held, spent FROM spending"
        " WHERE tenant_id = %s AND limit_id = ANY(%s) AND period_start >= %s",
        [tenant_id, list(limit_ids), since],
    )
    return {Counted(limit_id, start): Spent(held, spent) for limit_id, start, held, spent in rows}


def move_spending(conn: BooksConnection, tenant_id: int, movements: Mapping[Counted, Spent]) -> None:
    """Move what counts against limits, in the order of limits and periods."""
    ordered = sorted(movements)
    conn.execute(
        """
        INSERT INTO spending AS s (tenant_id, limit_id, period_start, held, spent)
        SELECT %(tenant_id)s, limit_id, period_start, 0, 0
          FROM unnest(%(limits)s::bigint[], %(starts)s::timestamptz[]) AS given (limit_id, period_start)
        ON CONFLICT DO NOTHING
        """,
        {
            "tenant_id": tenant_id,
            "limits": [one.limit_id for one in ordered],
            "starts": [one.period_start for one in ordered],
        },
    )
    conn.execute(
        """
        UPDATE spending s SET held = s.held + given.held, spent = s.spent + given.spent
          FROM unnest(%(limits)s::bigint[], %(starts)s::timestamptz[], %(held)s::numeric[], %(spent)s::numeric[])
               AS given (limit_id, period_start, held, spent)
         WHERE s.tenant_id = %(tenant_id)s AND s.limit_id = given.limit_id AND s.period_start = given.period_start
        """,
        {
            "tenant_id": tenant_id,
            "limits": [one.limit_id for one in ordered],
            "starts": [one.period_start for one in ordered],
            "held": [movements[one].held for one in ordered],
            "spent": [movements[one].spent for one in ordered],
        },
    )


def put_limit(
    conn: BooksConnection, tenant_id: int, customer_id: int, content: LimitContent, now: datetime
) -> int:
    """Set a limit: it is made, or what it was is replaced. Its id."""
    row = (
        conn.cursor(row_factory=tuple_row)
        .execute(
            """
            INSERT INTO spending_limits (tenant_id, customer_id, level, name, schedule_interval, amount, created_at,
                                         updated_at)
            VALUES (%(tenant_id)s, %(customer_id)s, %(level)s, %(name)s, %(interval)s, %(amount)s, %(now)s, %(now)s)
            ON CONFLICT (tenant_id, customer_id, level, name, schedule_interval)
            DO UPDATE SET amount = excluded.amount, updated_at = excluded.updated_at, removed_at = NULL
            RETURNING limit_id
            """,
            {
                "tenant_id": tenant_id,
                "customer_id": customer_id,
                "level": content.level.value,
                "name": content.name,
                "interval": content.interval.value,
                "amount": content.amount,
                "now": now,
            },
        )
        .fetchone()
    )
    assert row is not None
    return int(row[0])


def remove_limit(conn: BooksConnection, tenant_id: int, limit_id: int, now: datetime) -> None:
    """From now on it bounds nothing; what counted against it stays."""
    conn.execute(
        "UPDATE spending_limits SET removed_at = %s, updated_at = %s WHERE tenant_id = %s AND limit_id = %s",
        [now, now, tenant_id, limit_id],
    )


def select_limits_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int | None, customer_id: int | None
) -> list[SpendingLimit]:
    """Limits in force in the order in which they were first set, those after `after`."""
    rows = conn.cursor(row_factory=tuple_row).execute(
        _LIMITS
        + """ AND l.removed_at IS NULL AND l.limit_id > %s AND (%s::bigint IS NULL OR l.customer_id = %s)
              ORDER BY l.limit_id LIMIT %s""",
        [tenant_id, after, customer_id, customer_id, limit],
    )
    return [_limit(row) for row in rows]


def _limit(row: Sequence[Any]) -> SpendingLimit:
    limit_id, customer_id, customer, level, name, interval, amount, currency, timezone, created_at = row
    return SpendingLimit(
        limit_id,
        customer_id,
        customer,
        Level(level),
        name,
        Interval(interval),
        amount,
        currency,
        timezone,
        created_at,
    )
