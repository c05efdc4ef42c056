"""SQL of balances as they move, and of top-ups."""

from collections.abc import Collection, Mapping, Sequence
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
        SELECT w.wallet_id, w.key, c.key AS customer, w.currency, w.low_balance, w.top_up, w.balance_state AS before,
               m.after, m.asks
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
               count(*) FILTER (WHERE t.status = 'requested') AS pending, max(t.requested_at) AS latest,
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


def insert_top_ups(
    conn: BooksConnection,
    tenant_id: int,
    top_ups: Sequence[tuple[str, int, Decimal]],
    now: datetime,
    *,
    automatic: bool,
) -> int:
    """New wishes for money: (key, wallet, amount). How many; those whose key stands are passed over."""
    return conn.execute(
        """
        INSERT INTO top_ups (tenant_id, key, wallet_id, amount, automatic, requested_at)
        SELECT %(tenant_id)s, given.key, given.wallet_id, given.amount, %(automatic)s, %(now)s
          FROM unnest(%(keys)s::text[], %(wallets)s::bigint[], %(amounts)s::numeric[])
               AS given (key, wallet_id, amount)
            ON CONFLICT (tenant_id, key) DO NOTHING
        """,
        {
            "tenant_id": tenant_id,
            "now": now,
            "automatic": automatic,
            "keys": [key for key, *_ in top_ups],
            "wallets": [wallet_id for _, wallet_id, _ in top_ups],
            "amounts": [amount for *_, amount in top_ups],
        },
    ).rowcount


_TOP_UPS = """
    SELECT t.top_up_id, t.key, t.wallet_id, w.key AS wallet, w.customer_id, c.key AS customer, w.currency, t.amount,
           t.automatic, t.requested_at, t.status, t.settled_at, g.key AS grant, t.failure
      FROM top_ups t
      JOIN wallets w ON w.tenant_id = t.tenant_id AND w.wallet_id = t.wallet_id
      JOIN customers c ON c.tenant_id = w.tenant_id AND c.customer_id = w.customer_id
      LEFT JOIN grants g ON g.tenant_id = t.tenant_id AND g.grant_id = t.grant_id
     WHERE t.tenant_id = %(tenant_id)s
"""


def select_top_up(conn: BooksConnection, tenant_id: int, key: str, *, hold: bool = False) -> DictRow | None:
    """A top-up by its key; with `hold` nobody else settles it until the transaction ends."""
    return conn.execute(
        _TOP_UPS + " AND t.key = %(key)s" + (" FOR NO KEY UPDATE OF t" if hold else ""),
        {"tenant_id": tenant_id, "key": key},
    ).fetchone()


def select_top_ups_after(
    conn: BooksConnection, tenant_id: int, after: int, limit: int, wallet: str | None, status: str | None
) -> list[DictRow]:
    """Top-ups in the order of their requests, those behind the id `after`."""
    return conn.execute(
        _TOP_UPS
        + """
           AND t.top_up_id > %(after)s AND (%(wallet)s::text IS NULL OR w.key = %(wallet)s)
           AND (%(status)s::text IS NULL OR t.status = %(status)s)
         ORDER BY t.top_up_id LIMIT %(limit)s
        """,
        {"tenant_id": tenant_id, "after": after, "limit": limit, "wallet": wallet, "status": status},
    ).fetchall()


def settle_top_up(
    conn: BooksConnection,
    tenant_id: int,
    top_up_id: int,
    now: datetime,
    *,
    grant_id: int | None = None,
    failure: str | None = None,
) -> None:
    """What came of a top-up: the grant that it became, or why it did not."""
    status = "failed" if grant_id is None else "funded"
    conn.execute(
        "UPDATE top_ups SET status = %s, settled_at = %s, grant_id = %s, failure = %s"
        " WHERE tenant_id = %s AND top_up_id = %s",
        [status, now, grant_id, failure, tenant_id, top_up_id],
    )
