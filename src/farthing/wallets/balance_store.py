"""SQL of balances as they move."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal

from psycopg.rows import DictRow

from farthing.db.pool import BooksConnection
from farthing.kernel.quantity import plain
from farthing.wallets.model import BalanceState


def lock_moved_wallets(
    conn: BooksConnection, tenant_id: int, available: Mapping[int, Decimal]
) -> list[DictRow]:
    """Those of these wallets whose balance is called otherwise now, or that are below the threshold of their top-up.

    The others, nearly all of them, do not leave the database.
    """
    return conn.execute(
        """
        SELECT w.wallet_id, w.key, c.key AS customer, w.currency, w.unit, w.low_balance, w.top_up,
               w.balance_state AS before, m.after, m.asks
          FROM unnest(string_to_array(%(ids)s, E'\\n')::bigint[],
                      string_to_array(%(available)s, E'\\n')::numeric[]) AS given (wallet_id, available)
          JOIN wallets w ON w.tenant_id = %(tenant_id)s AND w.wallet_id = given.wallet_id
          JOIN customers c ON c.tenant_id = w.tenant_id AND c.customer_id = w.customer_id
         CROSS JOIN LATERAL (
               SELECT CASE WHEN given.available <= 0 THEN 'exhausted'
                           WHEN given.available <= w.low_balance THEN 'low' ELSE 'funded' END AS after,
                      coalesce(given.available < (w.top_up ->> 'below')::numeric, false) AS asks) m
         WHERE m.after <> w.balance_state OR m.asks
         ORDER BY w.wallet_id FOR NO KEY UPDATE OF w
        """,
        {
            "tenant_id": tenant_id,
            "ids": "\n".join(map(str, available)),
            "available": "\n".join(map(plain, available.values())),
        },
    ).fetchall()


def update_states(conn: BooksConnection, tenant_id: int, states: Mapping[int, BalanceState]) -> None:
    """What was said last of these wallets."""
    conn.execute(
        """
        UPDATE wallets w SET balance_state = given.state
          FROM unnest(%(ids)s::bigint[], %(states)s::text[]) AS given (wallet_id, state)
         WHERE w.tenant_id = %(tenant_id)s AND w.wallet_id = given.wallet_id
        """,
        {"tenant_id": tenant_id, "ids": list(states), "states": [state.value for state in states.values()]},
    )


def select_moved_by_time(conn: BooksConnection, tenant_id: int, now: datetime) -> list[int]:
    """The wallets that top themselves up, and those whose balance is called otherwise than when it last moved."""
    rows = conn.execute(
        """
        SELECT w.wallet_id
          FROM wallets w
          LEFT JOIN LATERAL (
               SELECT sum(g.amount - g.drawn - g.held - g.settled - g.expired) AS available FROM grants g
                WHERE g.tenant_id = w.tenant_id AND g.customer_id = w.customer_id AND g.wallet_id = w.wallet_id
                  AND g.closed_at IS NULL AND g.effective_at <= %(now)s
                  AND (g.expires_at IS NULL OR g.expires_at > %(now)s)) b ON true
         WHERE w.tenant_id = %(tenant_id)s
           AND (w.top_up IS NOT NULL
                OR w.balance_state <> CASE WHEN coalesce(b.available, 0) <= 0 THEN 'exhausted'
                                           WHEN b.available <= w.low_balance THEN 'low' ELSE 'funded' END)
         ORDER BY w.wallet_id
        """,
        {"tenant_id": tenant_id, "now": now},
    )
    return [row["wallet_id"] for row in rows]


def select_automatic(
    conn: BooksConnection, tenant_id: int, wallet_ids: Collection[int], month: datetime
) -> dict[int, DictRow]:
    """Of each wallet the automatic top-ups so far: how many, how many are pending, the latest, those since `month`."""
    rows = conn.execute(
        """
        SELECT w.wallet_id, count(t.top_up_id) AS count,
               count(*) FILTER (WHERE t.settled_at IS NULL AND t.top_up_id IS NOT NULL) AS pending,
               max(t.requested_at) AS latest,
               coalesce(sum(t.amount) FILTER (WHERE t.requested_at >= %(month)s AND t.status <> 'failed'), 0)
                   AS of_month
          FROM wallets w
          LEFT JOIN top_ups t ON t.tenant_id = w.tenant_id AND t.wallet_id = w.wallet_id AND t.automatic
         WHERE w.tenant_id = %(tenant_id)s AND w.wallet_id = ANY(%(ids)s)
         GROUP BY w.wallet_id
        """,
        {"tenant_id": tenant_id, "ids": list(wallet_ids), "month": month},
    )
    return {row["wallet_id"]: row for row in rows}
